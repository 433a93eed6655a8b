/*
 * Settings: every bad file with exactly what is reported of it, and what good ones give.
 */
#include "../test.h"

#include "folder.h"
#include "io/settings.h"

#define auto_settings [[gnu::cleanup(settings_done)]] struct settings

static struct path file_with(const struct folder *f, const char *text, size_t len)
{
	struct path p = path_in(f, "conf");
	struct err e;

	assert_ok(file_replace(p.s, text, len, 0600, &e), &e);
	return p;
}

static void load(const char *text, struct settings *ret)
{
	auto_folder f = folder_new();
	struct path p = file_with(&f, text, strlen(text));
	auto_str report = {};
	struct err e;

	if (!settings_load(p.s, &report, ret, &e)) {
		fail_msg("%s\n%s", e.msg, str_cstr(&report));
	}
	assert_string_equal(str_cstr(&report), "");
}

/* Drops "FILE:" in front of each line of a report. */
static void strip_path(const char *report, const char *path, struct str *out)
{
	size_t len = strlen(path);

	for (const char *p = report; *p != '\0';) {
		size_t line = strcspn(p, "\n") + 1;

		assert_memory_equal(p, path, len);
		assert_int_equal(p[len], ':');
		str_append_mem(out, p + len + 1, line - len - 1);
		p += line;
	}
}

static void bad_lines_are_named(void **)
{
	/* clang-format off */
	static const struct {
		const char *file, *report;
	} cases[] = {
		{ "[api]\npage_size = many\n",
		  "2: api.page_size: 'many' is no whole number from 1 to 1000\n" },
		{ "[api]\npage_size = 0\n\n\npage_max = 10001\nhead_limit =\n",
		  "2: api.page_size: '0' is no whole number from 1 to 1000\n"
		  "5: api.page_max: '10001' is no whole number from 1 to 10000\n"
		  "6: api.head_limit: '' is no whole number from 1 to 3600\n" },
		{ "[quota]\ninstances = -2\nram_mb = 99999999999999999999\nbackups = 5 GB\n",
		  "2: quota.instances: '-2' is no whole number from -1 to 1000000\n"
		  "3: quota.ram_mb: '99999999999999999999' is no whole number from -1 to 1099511627776\n"
		  "4: quota.backups: '5 GB' is no whole number from -1 to 1000000\n" },
		{ "[api]\nstrict = perhaps\n", "2: api.strict: 'perhaps' is neither yes nor no\n" },
		{ "[redis]\nreplication_strategy = MysqlGTIDReplication\n",
		  "2: redis.replication_strategy: 'MysqlGTIDReplication' is none of: RedisSyncReplication\n" },
		{ "[redis]\nappendfsync = no\n[log]\nlevel = |\nlevel = warn\n",
		  "2: redis.appendfsync: 'no' is none of: everysec, always\n"
		  "4: log.level: '|' is none of: error, warn, info, debug\n"
		  "5: log.level was set in line 4 already\n" },
		{ "[api]\nlisten = localhost:80\nregion =\n",
		  "2: api.listen: 'localhost:80' is no address with a port, such as 127.0.0.1:8779 or [::1]:8779\n"
		  "3: api.region: it must not be empty\n" },
		{ "[api]\nlisten = 127.0.0.1:65536\n",
		  "2: api.listen: '127.0.0.1:65536' is no address with a port, such as 127.0.0.1:8779 or [::1]:8779\n" },
		{ "[agent]\naddresses = 127.0.0.9-127.0.0.1\nports = 70000\n",
		  "2: agent.addresses: '127.0.0.9-127.0.0.1' is no range of IPv4 addresses, such as 127.0.77.1-127.0.77.250\n"
		  "3: agent.ports: '70000' is no port, such as 6379, nor a range of them\n" },
		{ "[agent]\nname = 1234567890123456789012345678901234567890123456789012345678901234\n",
		  "2: agent.name: it has 64 characters, the limit is 63\n" },
		{ "[auth]\nmod = none\n", "2: there is no 'mod' in [auth]; there are mode\n" },
		{ "[volume]\nmode = x\n[quota]\nmax_gb = 5\n",
		  "2: there is no 'mode' in [volume]; there are max_gb\n"
		  "4: there is no 'max_gb' in [quota]; there are instances, ram_mb, volumes_gb, backups\n" },
		{ "page_size = 5\n", "1: 'page_size' stands before any [section]\n" },
		{ "[apis]\npage_size = x\n[tokn:hush]\n[]\n[api.page]\n",
		  "1: there is no section [apis]; there are [api], [discovery], [auth], [quota], [volume], [redis], [placement], "
		  "[replication], [agent], [events], [log], [flavor:NAME], [datastore:NAME], [token:NAME]\n"
		  "3: there is no section [tokn:...]; there are [api], [discovery], [auth], [quota], [volume], [redis], [placement], "
		  "[replication], [agent], [events], [log], [flavor:NAME], [datastore:NAME], [token:NAME]\n"
		  "4: there is no section []; there are [api], [discovery], [auth], [quota], [volume], [redis], [placement], "
		  "[replication], [agent], [events], [log], [flavor:NAME], [datastore:NAME], [token:NAME]\n"
		  "5: there is no section [api.page]; there are [api], [discovery], [auth], [quota], [volume], [redis], [placement], "
		  "[replication], [agent], [events], [log], [flavor:NAME], [datastore:NAME], [token:NAME]\n" },
		{ "[api\npage_size = x\n[api] page_size = 3\npage_size = x\n",
		  "1: expected '[section]' and nothing behind it\n"
		  "3: expected '[section]' and nothing behind it\n" },
		{ "[api]\nnonsense\n  more of it\npage_size = 7\nend",
		  "2: expected 'key = value', '[section]' or a comment\n"
		  "3: expected 'key = value', '[section]' or a comment\n"
		  "5: expected 'key = value', '[section]' or a comment\n" },
		{ "[api]\n= 3\npage_size 3\n",
		  "2: there is no '' in [api]; there are listen, tls_cert, tls_key, plain_text, region, "
		  "active_status, strict, page_size, page_max, max_connections, head_limit, "
		  "body_limit, idle_limit, rate_limit\n"
		  "3: expected 'key = value', '[section]' or a comment\n" },
		{ "[api]\npage_size = 3\n[log]\n[api]\npage_size = 4\n",
		  "5: api.page_size was set in line 2 already\n" },
		{ "[flavor:7]\nname = big\n", "1: [flavor:7] has no 'ram'\n" },
		{ "[flavor:7]\n", "1: [flavor:7] has no 'name'\n1: [flavor:7] has no 'ram'\n" },
		{ "[flavor:7]\nname = big\nram = 0\nram = 5\npolicy = keep\nsize = 3\n",
		  "3: ram: '0' is no whole number from 1 to 1073741824\n"
		  "4: ram was set in line 3 already\n"
		  "5: policy: 'keep' is none of: noeviction, allkeys-lru, allkeys-lfu, allkeys-random, "
		  "volatile-lru, volatile-lfu, volatile-random, volatile-ttl\n"
		  "6: there is no 'size' in [flavor:NAME]; there are name, ram, vcpus, disk, ephemeral, "
		  "maxmemory_pct, policy\n" },
		{ "[flavor:7]\nname = a\nram = 5\n[flavor:7]\nname = b\nram = 5\n",
		  "4: there is a [flavor:7] above\n" },
		{ "[flavor:]\nname = a\n[flavor:a b]\n[flavor:a/b]\n",
		  "1: the name in [flavor:NAME] must have 1 to 255 letters, digits, '.', '_' and '-'\n"
		  "3: the name in [flavor:NAME] must have 1 to 255 letters, digits, '.', '_' and '-'\n"
		  "4: the name in [flavor:NAME] must have 1 to 255 letters, digits, '.', '_' and '-'\n" },
		{ "[token:hush]\nroles = root\n[token:hush]\nproject = p\n[token:hush]\nproject = q\n",
		  "2: roles: 'root' is none of: member, admin\n"
		  "1: [token:...] has no 'project'\n"
		  "5: there is a section of this token above\n" },
		{ "[datastore:redis]\nid = 7\n",
		  "2: id: '7' is no id such as aaaaaaaa-0000-4000-8000-000000000001\n" },
		{ "[datastore:redis]\nid = aaaaaaaa-0000-4000-8000-000000000001\n",
		  "1: [datastore:redis] has no version.NAME\n" },
		{ "[datastore:redis]\nid = aaaaaaaa-0000-4000-8000-000000000001\ndefault = 7\n"
		  "version.6 = aaaaaaaa-0000-4000-8000-000000000002 active\n",
		  "3: default: there is no version.7 in [datastore:redis]\n" },
		{ "[datastore:redis]\nversion.6 = active\n"
		  "version.7 = aaaaaaaa-0000-4000-8000-000000000002 yes\n"
		  "version.8 = aaaaaaaa-0000-4000-8000-000000000002 active 1 2\n"
		  "version. = aaaaaaaa-0000-4000-8000-000000000002 active\n"
		  "version.9 = aaaaaaaa-0000-4000-8000-000000000002 active\n"
		  "version.9 = aaaaaaaa-0000-4000-8000-000000000003 active\n",
		  "2: version.6: expected 'UUID active' or 'UUID inactive', and a number if it is not 6\n"
		  "3: version.7: expected 'UUID active' or 'UUID inactive', and a number if it is not 7\n"
		  "4: version.8: expected 'UUID active' or 'UUID inactive', and a number if it is not 8\n"
		  "5: there is no 'version.' in [datastore:NAME]; there are id, default, version.NAME\n"
		  "7: there is a version '9' above\n"
		  "1: [datastore:redis] has no 'id'\n" },
		{ "[datastore:a]\nid = aaaaaaaa-0000-4000-8000-000000000001\n"
		  "version.6 = aaaaaaaa-0000-4000-8000-000000000002 active\n"
		  "[datastore:a]\nid = aaaaaaaa-0000-4000-8000-000000000001\n"
		  "version.6 = aaaaaaaa-0000-4000-8000-000000000002 active\n",
		  "4: there is a [datastore:a] above\n" },
	};
	/* clang-format on */

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		auto_folder f = folder_new();
		struct path p = file_with(&f, cases[i].file, strlen(cases[i].file));
		auto_settings s = {};
		auto_str report = {}, stripped = {};
		struct err e = {};
		char want[PATH_MAX + 50];
		int lines = 0;

		assert_false(settings_load(p.s, &report, &s, &e));
		assert_null(s.text); /* written only on success */
		strip_path(str_cstr(&report), p.s, &stripped);
		assert_string_equal(str_cstr(&stripped), cases[i].report);
		for (const char *c = cases[i].report; *c != '\0'; c++) {
			lines += *c == '\n';
		}
		snprintf(want, sizeof want, "'%s' has %d bad line%s", p.s, lines,
			 lines == 1 ? "" : "s");
		assert_string_equal(e.msg, want);
		assert_int_equal(e.code, ERR_INVALID);
	}
}

/* Lines as long as the limit, one longer, and with a byte that ends a C string. */
static void odd_bytes_are_named(void **)
{
	static const char tail[] = "\n[lo\0g]\nlevel = \xff\r\n\tlevel\t=\twarn\t;\x01\r\n";
	auto_folder f = folder_new();
	auto_settings s = {};
	auto_str text = {}, report = {}, stripped = {};
	struct err e = {};

	str_append(&text, "[agent]\nservers = /");
	while (text.len < 8 + 4096) {
		str_append_char(&text, 'x');
	}
	str_append(&text, "\n;");
	while (text.len < 8 + 4097 + 4097) {
		str_append_char(&text, 'y');
	}
	str_append_mem(&text, tail, sizeof tail - 1);
	struct path p = file_with(&f, text.p, text.len);
	assert_false(settings_load(p.s, &report, &s, &e));
	strip_path(str_cstr(&report), p.s, &stripped);
	assert_string_equal(
		str_cstr(&stripped),
		"2: agent.servers: it has 4086 characters, the limit is 4000\n"
		"3: a line of 4097 bytes, the limit is 4096\n"
		"4: a byte 0 in the text\n"
		"5: there is no 'level' in [agent]; there are name, addresses, ports, servers, "
		"restart_delay, report_interval, stop_limit, start_limit, socket_dir, "
		"silent_after, disk_reserve_bytes\n"
		"6: there is no 'level' in [agent]; there are name, addresses, ports, servers, "
		"restart_delay, report_interval, stop_limit, start_limit, socket_dir, "
		"silent_after, disk_reserve_bytes\n");
}

static void missing_file_is_not_found(void **)
{
	auto_folder f = folder_new();
	auto_settings s = {};
	auto_str report = {};
	struct err e = {};

	assert_false(settings_load(path_in(&f, "none").s, &report, &s, &e));
	assert_int_equal(e.code, ERR_NOT_FOUND);
	assert_false(settings_load(f.path, &report, &s, &e));
	assert_int_equal(e.code, ERR_INVALID);
	assert_string_equal(str_cstr(&report), "");
}

static void defaults_are_good_values(void **)
{
	auto_settings s = {};
	auto_str report = {};
	struct err e = {};

	assert_ok(settings_load(NULL, &report, &s, &e), &e);
	for (size_t i = 0; i < nsettings; i++) {
		const struct setting *row = &settings_table[i];

		if (!setting_check(row, row->standard, &e)) {
			fail_msg("%s: %s", row->name, e.msg);
		}
		assert_string_equal(s.text[i], row->standard);
		assert_ptr_equal(setting_find(row->name), row);
		assert_non_null(strchr(row->name, '.'));
		assert_int_equal(row->meaning[strlen(row->meaning) - 1], '.');
	}
	assert_int_equal(setting_int(&s, "api.page_size"), 20);
	assert_int_equal(setting_int(&s, "quota.ram_mb"), -1);
	assert_false(setting_bool(&s, "api.strict"));
	assert_string_equal(setting_text(&s, "auth.mode"), "none");
	assert_string_equal(setting_text(&s, "agent.name"), "");
	assert_null(setting_find("api.none"));
}

static void flavors_are_built_in_unless_configured(void **)
{
	static const struct flavor standard[] = {
		{ "1", "redis.tiny", 512, 1, 1, 0, 75, "noeviction" },
		{ "2", "redis.small", 1024, 1, 5, 0, 75, "noeviction" },
		{ "3", "redis.medium", 2048, 2, 10, 0, 75, "noeviction" },
		{ "4", "redis.large", 4096, 2, 20, 0, 75, "noeviction" },
		{ "5", "redis.xlarge", 8192, 4, 40, 0, 75, "noeviction" },
	};
	auto_settings none = {}, some = {};

	load("", &none);
	assert_int_equal(none.nflavors, ARRAY_LEN(standard));
	for (size_t i = 0; i < ARRAY_LEN(standard); i++) {
		const struct flavor *f = settings_flavor(&none, standard[i].id);

		assert_non_null(f);
		assert_string_equal(f->name, standard[i].name);
		assert_int_equal(f->ram_mb, standard[i].ram_mb);
		assert_int_equal(f->vcpus, standard[i].vcpus);
		assert_int_equal(f->disk_gb, standard[i].disk_gb);
		assert_int_equal(f->ephemeral_gb, 0);
		assert_int_equal(f->maxmemory_pct, 75);
		assert_string_equal(f->maxmemory_policy, "noeviction");
	}
	assert_null(settings_flavor(&none, "6"));

	load("[flavor:d1c5e2a0-7f6b-4a53-9d0f-0a8b1f6f0c11]\nname = redis.uuid\nram = 768\n"
	     "[flavor:x]\npolicy = allkeys-lru ; a cache\nname = b\nram = 4\nvcpus = 3\ndisk = 2\n"
	     "ephemeral = 1\nmaxmemory_pct = 90\n",
	     &some);
	assert_int_equal(some.nflavors, 2);
	assert_null(settings_flavor(&some, "1"));
	const struct flavor *f = settings_flavor(&some, "d1c5e2a0-7f6b-4a53-9d0f-0a8b1f6f0c11");
	assert_string_equal(f->name, "redis.uuid");
	assert_int_equal(f->ram_mb, 768);
	assert_int_equal(f->vcpus, 1);
	assert_int_equal(f->disk_gb, 0);
	f = settings_flavor(&some, "x");
	assert_int_equal(f->vcpus, 3);
	assert_int_equal(f->disk_gb, 2);
	assert_int_equal(f->ephemeral_gb, 1);
	assert_int_equal(f->maxmemory_pct, 90);
	assert_string_equal(f->maxmemory_policy, "allkeys-lru");
}

static void file_overrides_and_sections_may_come_twice(void **)
{
	auto_settings s = {};

	load("\xef\xbb\xbf# a comment\n; another\n\n[api]\r\n  page_size = 7\nlisten=[::1]:0\n"
	     "[log] # behind a header\nlevel: debug\n[api]\nstrict = YES\nregion = a ; comment\n",
	     &s);
	assert_int_equal(setting_int(&s, "api.page_size"), 7);
	assert_string_equal(setting_text(&s, "api.listen"), "[::1]:0");
	assert_string_equal(setting_text(&s, "log.level"), "debug");
	assert_true(setting_bool(&s, "api.strict"));
	assert_string_equal(setting_text(&s, "api.region"), "a");
	assert_int_equal(setting_int(&s, "api.page_max"), 1000);
}

static void catalogue_and_tokens_are_read(void **)
{
	auto_settings s = {};
	char token[100];
	auto_str text = {};

	memset(token, 't', sizeof token); /* longer than inih keeps a section's name */
	token[sizeof token - 1] = '\0';
	str_printf(&text,
		   "[datastore:redis]\n"
		   "version.6.2 = aaaaaaaa-0000-4000-8000-000000000003 inactive\n"
		   "version.7.0 =   aaaaaaaa-0000-4000-8000-000000000004   active   7.0.15\n"
		   "default = 7.0\nid = aaaaaaaa-0000-4000-8000-000000000001\n"
		   "[datastore:mysql]\nid = aaaaaaaa-0000-4000-8000-000000000005\n"
		   "version.5.7 = aaaaaaaa-0000-4000-8000-000000000006 active\n"
		   "[token:%s]\nproject = dev\n[token:t1]\nproject = t1\nroles = admin\n",
		   token);
	load(text.p, &s);

	assert_int_equal(s.ncatalogue, 3);
	assert_string_equal(s.catalogue[0].version, "6.2");
	assert_string_equal(s.catalogue[0].number, "6.2");
	assert_false(s.catalogue[0].active);
	assert_false(s.catalogue[0].is_default);
	assert_string_equal(s.catalogue[1].datastore, "redis");
	assert_string_equal(s.catalogue[1].datastore_id, "aaaaaaaa-0000-4000-8000-000000000001");
	assert_string_equal(s.catalogue[1].version_id, "aaaaaaaa-0000-4000-8000-000000000004");
	assert_string_equal(s.catalogue[1].number, "7.0.15");
	assert_true(s.catalogue[1].active);
	assert_true(s.catalogue[1].is_default);
	assert_string_equal(s.catalogue[2].datastore, "mysql");
	assert_false(s.catalogue[2].is_default);

	assert_int_equal(s.ntokens, 2);
	assert_string_equal(s.tokens[0].token, token);
	assert_string_equal(s.tokens[0].project, "dev");
	assert_false(s.tokens[0].admin);
	assert_true(s.tokens[1].admin);
}

static void command_line_overrides_with_the_same_checks(void **)
{
	auto_settings s = {};
	struct err e = {};
	char value[] = "9";

	load("[api]\npage_size = 7\n", &s);
	assert_ok(settings_set(&s, "api.page_size", value, &e), &e);
	value[0] = 'x'; /* it was copied */
	assert_int_equal(setting_int(&s, "api.page_size"), 9);
	assert_false(settings_set(&s, "api.page_size", "none", &e));
	assert_string_equal(e.msg, "api.page_size: 'none' is no whole number from 1 to 1000");
	assert_int_equal(e.code, ERR_INVALID);
	assert_false(settings_set(&s, "api.nothing", "1", &e));
	assert_string_equal(e.msg, "there is no setting 'api.nothing'; --settings prints them all");
	assert_false(settings_set(&s, "redis.replication_strategy", "none", &e));
	assert_string_equal(e.msg,
			    "redis.replication_strategy: 'none' is none of: RedisSyncReplication");
	assert_int_equal(setting_int(&s, "api.page_size"), 9);
}

/* What --settings prints is a file to start from: as it is, and with the '#' of settings gone. */
static void template_can_be_loaded(void **)
{
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);
	auto_settings as_it_is = {}, all_set = {};
	auto_str open = {};

	settings_print(f);
	fclose(f);
	load(text, &as_it_is);

	for (const char *p = text; *p != '\0';) {
		size_t line = strcspn(p, "\n") + 1;
		bool set = p[0] == '#' && p[1] != ' ' && p[1] != '\n';

		str_append_mem(&open, p + set, line - set);
		p += line;
	}
	load(open.p, &all_set);
	for (size_t i = 0; i < nsettings; i++) {
		const char *key = strchr(settings_table[i].name, '.') + 1;
		auto_str want = {};

		str_printf(&want, "\n%s =", key);
		assert_non_null(strstr(open.p, want.p));
		assert_non_null(strstr(text, settings_table[i].meaning));
		assert_string_equal(all_set.text[i], settings_table[i].standard);
	}
	assert_int_equal(all_set.nflavors, 1);
	assert_int_equal(all_set.ntokens, 1);
	assert_int_equal(all_set.ncatalogue, 1);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bad_lines_are_named),
		cmocka_unit_test(odd_bytes_are_named),
		cmocka_unit_test(missing_file_is_not_found),
		cmocka_unit_test(defaults_are_good_values),
		cmocka_unit_test(flavors_are_built_in_unless_configured),
		cmocka_unit_test(file_overrides_and_sections_may_come_twice),
		cmocka_unit_test(catalogue_and_tokens_are_read),
		cmocka_unit_test(command_line_overrides_with_the_same_checks),
		cmocka_unit_test(template_can_be_loaded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
