/*
 * Structs as JSON objects by a table of their fields: one row makes writer and reader, so neither
 * can know of a field that the other forgets. What the store keeps (record) and what agents say
 * (wire) are such tables.
 */
#pragma once

#include "base/arena.h"
#include "proto/json.h"

enum field_kind {
	FIELD_BOOL,
	FIELD_U8,
	FIELD_U16,
	FIELD_U32,
	FIELD_I32,
	FIELD_U64, /* up to INT64_MAX: what JSON readers agree on */
	FIELD_I64,
	FIELD_ENUM,
	FIELD_ID,
	FIELD_REPLID, /* "" or 40 hex digits */
	FIELD_SECRET, /* letters and digits only: it goes into lines of a configuration file */
	FIELD_TEXT,   /* char[]; too long is refused */
	FIELD_PROSE,  /* char[] for people; too long is cut at a character's border */
	FIELD_STRING, /* const char *, in the arena; never NULL after reading */
	FIELD_KIND_COUNT,
};

/* OPTIONAL: left out at its `absent` value (ids: zero, texts: ""), and that when missing. */
enum field_need { FIELD_OPTIONAL, FIELD_NEEDED };

/* The words of an enum. */
struct field_words {
	const char *(*name)(unsigned value);
	bool (*parse)(const char *s, unsigned *ret);
};

struct field {
	const char *key;
	enum field_kind kind;
	enum field_need need;
	size_t offset, size;
	/*
	 * Numbers: the range; both 0: the type's own. STRING: bytes, max is a must. TEXT, SECRET:
	 * at least min bytes, the buffer is the ceiling.
	 */
	int64_t min, max;
	int64_t absent;
	const struct field_words *words; /* ENUM */
};

/* offset and size of a member */
#define FIELD_AT(type, member) \
	.offset = offsetof(type, member), .size = sizeof(((type *)NULL)->member)

/*
 * The words of `enum NAME`, from NAME_name() and NAME_parse(). A macro that makes functions,
 * because pointers to functions that take different enums are of different types.
 */
#define FIELD_WORDS(NAME)                                                 \
	static const char *NAME##_word(unsigned value)                    \
	{                                                                 \
		return NAME##_name((enum NAME)value);                     \
	}                                                                 \
	static bool NAME##_of_word(const char *s, unsigned *ret)          \
	{                                                                 \
		enum NAME value;                                          \
                                                                          \
		if (!NAME##_parse(s, &value)) {                           \
			return false;                                     \
		}                                                         \
		*ret = value;                                             \
		return true;                                              \
	}                                                                 \
	static const struct field_words NAME##_words = { NAME##_word, NAME##_of_word }

/* Writes the fields of the struct at `from` into the object that is open in w. */
void fields_write(struct jw *w, const struct field *rows, size_t n, const void *from);

/*
 * Reads them from o into the struct at ret, which is changed also when it fails (ERR_INVALID, with
 * the field and what is allowed). Members that no row names are ignored. a may be NULL when no row
 * is a STRING.
 */
[[nodiscard]] bool fields_read(const json_t *o, const struct field *rows, size_t n,
			       struct arena *a, void *ret, struct err *e);

/*
 * The array `key` of objects, each by its rows: *ret of *ret_n items of `size` bytes in *a, with
 * room for `spare` more. Missing: none. More than max: ERR_OVER_LIMIT. Errors name the item,
 * "members[2]: 'port' ...".
 */
struct field_list {
	const char *key;
	const struct field *rows;
	size_t nrows;
	size_t size; /* of one item */
	size_t max, spare;
};
[[nodiscard]] bool fields_read_list(const json_t *o, const struct field_list *l, struct arena *a,
				    void **ret, size_t *ret_n, struct err *e);
/* Left out when there are none. */
void fields_write_list(struct jw *w, const struct field_list *l, const void *items, size_t n);
