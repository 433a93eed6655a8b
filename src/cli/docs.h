/*
 * Help, the manual page's command part and shell completion, printed from the tables.
 */
#pragma once

#include <stdio.h>

#include "cli/command.h"

void docs_usage(FILE *out);                                /* `tanist help` */
void docs_command(const struct command *cmd, FILE *out);   /* `tanist help COMMAND` */
void docs_man(FILE *out);                                  /* scdoc source */
void docs_bash(FILE *out);
