/*
 * What an agent finds on its host: server programs and their versions, its own id, its folders.
 */
#include "../test.h"

#include <sys/stat.h>
#include <unistd.h>

#include "agent/binaries.h"
#include "agent/host_id.h"
#include "agent/paths.h"
#include "base/str.h"
#include "io/file.h"

static char root[64];

static int setup(void **)
{
	str_copy(root, sizeof root, "/tmp/tanist-discovery-XXXXXX");
	return mkdtemp(root) == NULL;
}

static int teardown(void **)
{
	struct err e;

	assert_ok(dir_remove(root, &e), &e);
	return 0;
}

static void versions_are_read_from_what_servers_print(void **)
{
	static const struct {
		const char *says, *datastore, *version; /* NULL: not served */
	} cases[] = {
		{ "Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64\n", "redis",
		  "7.0.15" },
		{ "Valkey server v=8.0.1 sha=00000000:0 malloc=libc bits=64\n", "valkey", "8.0.1" },
		{ "Redis server v=2.6.17 sha=0\n", NULL, NULL },
		{ "Redis server v=seven\n", NULL, NULL },
		{ "redis-cli 7.0.15\n", NULL, NULL },
		{ "", NULL, NULL },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct host_datastore got = {};

		print_message("# %s\n", cases[i].says);
		assert_int_equal(binaries_read_version(cases[i].says, &got),
				 cases[i].version != NULL);
		if (cases[i].version != NULL) {
			assert_string_equal(got.datastore, cases[i].datastore);
			assert_string_equal(got.version, cases[i].version);
		}
	}
}

static char *script(const char *name, const char *text)
{
	static char path[100];
	FILE *f;

	snprintf(path, sizeof path, "%s/%s", root, name);
	f = fopen(path, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
	assert_int_equal(chmod(path, 0755), 0);
	return path;
}

static void stop(void *arg)
{
	loop_stop(arg);
}

static void programs_are_asked_and_strange_ones_left_out(void **)
{
	struct loop *l = loop_new();
	struct host h = {};
	auto_str wanted = {};
	const char *binary = NULL;
	struct err e;

	str_append(&wanted, script("a", "#!/bin/sh\necho 'Redis server v=7.2.4 x'\n"));
	str_append(&wanted, "  ");
	str_append(&wanted, script("b", "#!/bin/sh\necho 'Valkey server v=8.0.1 x'\n"));
	str_append(&wanted, " ");
	str_append(&wanted, script("c", "#!/bin/sh\necho hello\n"));
	str_append(&wanted, " ");
	str_append(&wanted, script("d", "#!/bin/sh\necho 'Redis server v=7.2.4 again'\n"));
	str_append(&wanted, " /nowhere/redis-server relative");

	struct binaries *b = binaries_scan(l, wanted.p, root, stop, l);
	loop_run(l);
	h.ndatastores = binaries_list(b, h.datastores);
	binaries_free(b);
	loop_free(l);

	assert_int_equal(h.ndatastores, 2);
	assert_ok(binaries_find(&h, "redis", "7.2.4", &binary, &e), &e);
	assert_string_equal(strrchr(binary, '/'), "/a");
	assert_false(binaries_find(&h, "redis", "7.0.15", &binary, &e));
	assert_string_equal(e.msg, "redis 7.0.15 is not installed on this host "
				   "(have: redis 7.2.4, valkey 8.0.1)");
}

static void nothing_to_ask_ends_too(void **)
{
	struct loop *l = loop_new();
	struct host h = {};
	const char *binary;
	struct err e;

	struct binaries *b = binaries_scan(l, "/nowhere", root, stop, l);
	loop_run(l);
	assert_int_equal(binaries_list(b, h.datastores), 0);
	binaries_free(b);
	loop_free(l);
	assert_false(binaries_find(&h, "redis", "7.0.15", &binary, &e));
	assert_string_equal(e.msg, "redis 7.0.15 is not installed on this host (have: none)");
}

static void the_hosts_id_stays(void **)
{
	struct id first, second;
	struct err e;
	auto_str path = {};

	assert_ok(host_id_load(root, &first, &e), &e);
	assert_ok(host_id_load(root, &second, &e), &e);
	assert_true(id_eq(first, second) && !id_is_zero(first));
	str_printf(&path, "%s/host.json", root);
	assert_ok(file_replace(path.p, "{}", 2, 0600, &e), &e);
	assert_false(host_id_load(root, &first, &e));
}

static void a_socket_folder_of_somebody_else_is_refused(void **)
{
	auto_arena a = {};
	auto_str wanted = {};
	const char *dir;
	struct err e;

	str_printf(&wanted, "%s/s", root);
	assert_ok(paths_socket_dir(wanted.p, id_new(), &a, &dir, &e), &e);
	assert_ok(paths_socket_dir(wanted.p, id_new(), &a, &dir, &e), &e);
	assert_int_equal(chmod(wanted.p, 0755), 0);
	assert_false(paths_socket_dir(wanted.p, id_new(), &a, &dir, &e));
	assert_int_equal(e.code, ERR_FORBIDDEN);
	assert_int_equal(rmdir(wanted.p), 0);
	assert_int_equal(symlink("/tmp", wanted.p), 0);
	assert_false(paths_socket_dir(wanted.p, id_new(), &a, &dir, &e));
}

static void socket_names_are_short_and_differ(void **)
{
	auto_arena a = {};
	struct id id;

	assert_true(id_parse("01234567-89ab-4cde-8f01-23456789abcd", &id));
	struct paths p = paths_of("/var/lib/tanist", "/run/user/1000/tanist-01234567", id, &a);
	assert_string_equal(p.socket, "/run/user/1000/tanist-01234567/0123456789ab.sock");
	assert_string_equal(p.data,
			    "/var/lib/tanist/instances/01234567-89ab-4cde-8f01-23456789abcd/data");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(versions_are_read_from_what_servers_print),
		cmocka_unit_test_setup_teardown(programs_are_asked_and_strange_ones_left_out, setup,
						teardown),
		cmocka_unit_test_setup_teardown(nothing_to_ask_ends_too, setup, teardown),
		cmocka_unit_test_setup_teardown(the_hosts_id_stays, setup, teardown),
		cmocka_unit_test_setup_teardown(a_socket_folder_of_somebody_else_is_refused, setup,
						teardown),
		cmocka_unit_test(socket_names_are_short_and_differ),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
