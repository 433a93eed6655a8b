/*
 * A secret: a type of its own, so that the log, events and messages do not take it by accident.
 * Only the writers of configuration files, wire messages and store records open it.
 */
#pragma once

enum { SECRET_LEN = 40 };

struct secret {
	char open[SECRET_LEN + 1]; /* "" when there is none */
};
