/*
 * What only the embedded store has. store_sqlite_open() is in io/store.h.
 */
#pragma once

#include <stdint.h>

#include "io/store.h"

/* Transactions (each one fsync) that this store has carried out since it was opened. */
uint64_t store_sqlite_transactions(const struct store *s);
