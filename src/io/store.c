#include "io/store.h"

void store_load(struct store *s, const char *prefix, store_row_fn *row, store_loaded_fn *done,
		void *arg)
{
	s->impl->load(s, prefix, row, done, arg);
}

void store_commit(struct store *s, const struct store_op *ops, size_t n, store_commit_fn *fn,
		  void *arg)
{
	s->impl->commit(s, ops, n, fn, arg);
}

bool store_leads(const struct store *s)
{
	return s->impl->leads(s);
}

void store_listen(struct store *s, const struct store_listener *l)
{
	if (s->impl->listen != NULL) {
		s->impl->listen(s, l);
	}
}

void store_free(struct store *s)
{
	if (s != NULL) {
		s->impl->free(s);
	}
}
