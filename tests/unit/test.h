/*
 * What every unit test includes: cmocka with the headers it needs, and checks that print both
 * sides. A test is a table of sentences where it can be (STYLE.md).
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/macros.h"

/* Fails with the message of *e. */
#define assert_ok(call, e)                                            \
	do {                                                          \
		if (!(call)) {                                        \
			fail_msg("%s: %s", #call, (e)->msg);          \
		}                                                     \
	} while (0)
