/*
 * Functions this project does not call: each has a safer one beside it. The build includes this
 * file in front of every source file.
 */
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <signal.h>

/* snprintf, str_append, str_to_i64, localtime_r, posix_spawn/uv_spawn, sigaction */
#pragma GCC poison strcpy strcat sprintf vsprintf strncpy strncat strtok atoi atol atoll
#pragma GCC poison gets localtime gmtime system popen
