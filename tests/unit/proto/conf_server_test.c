/*
 * Real servers read what conf.c writes: in every mode the file starts one, CONFIG GET shows what
 * was meant, CONFIG SET takes every live setting and ACL SETUSER every user, as the agent's own
 * user over its socket. And servers that cannot start leave words that info_start_error() finds.
 * Without a redis-server the tests are skipped.
 */
#include "../test.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <ftw.h>
#include <hiredis/hiredis.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "proto/conf.h"
#include "proto/info.h"

#define SERVER "/usr/bin/redis-server"
#define SECRET_A "AgentSecret0123456789"
#define SECRET_R "ReplSecret0123456789"

struct server {
	char dir[64], socket[96], address[24];
	uint16_t port;
	pid_t pid;
	redisContext *c;
};

static int remove_entry(const char *path, const struct stat *, int, struct FTW *)
{
	return remove(path);
}

/* A loopback address of this process's own and a port that is free there. */
static void free_endpoint(struct server *s)
{
	struct sockaddr_in sa = { .sin_family = AF_INET };
	socklen_t len = sizeof sa;
	uint32_t host = 0x7f000000u | 88u << 16 | ((uint32_t)getpid() & 0xfffe) | 1;

	sa.sin_addr.s_addr = htonl(host);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof sa), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&sa, &len), 0);
	close(fd);
	inet_ntop(AF_INET, &sa.sin_addr, s->address, sizeof s->address);
	s->port = ntohs(sa.sin_port);
}

/*
 * A failed check leaves its function by a jump, past every cleanup: what was started is kept here
 * and ended by the teardown.
 */
static struct server servers[8];
static size_t nservers;

static struct server *new_server(void)
{
	assert_true(nservers < ARRAY_LEN(servers));
	struct server *s = &servers[nservers++];

	*s = (struct server){};
	snprintf(s->dir, sizeof s->dir, "/tmp/tanist-conf-XXXXXX");
	assert_non_null(mkdtemp(s->dir));
	free_endpoint(s);
	return s;
}

static void end_process(struct server *s)
{
	if (s->pid > 0) {
		kill(s->pid, SIGKILL);
		waitpid(s->pid, NULL, 0);
		s->pid = 0;
	}
}

static int end_servers(void **)
{
	while (nservers > 0) {
		struct server *s = &servers[--nservers];

		redisFree(s->c);
		end_process(s);
		nftw(s->dir, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
	}
	return 0;
}

static void write_file(const char *path, const struct str *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text->p, text->len), text->len);
	close(fd);
}

static void spawn_server(struct server *s, char *conf, const char *out)
{
	posix_spawn_file_actions_t fa;
	char name[] = "redis-server";
	char *const argv[] = { name, conf, NULL };
	char *const env[] = { NULL };

	posix_spawn_file_actions_init(&fa);
	posix_spawn_file_actions_addopen(&fa, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_addopen(&fa, 1, out, O_WRONLY | O_CREAT | O_APPEND, 0600);
	posix_spawn_file_actions_adddup2(&fa, 1, 2);
	assert_int_equal(posix_spawn(&s->pid, SERVER, &fa, NULL, argv, env), 0);
	posix_spawn_file_actions_destroy(&fa);
}

/* Connects to its socket as soon as it listens, at most 10 s. */
static void connect_agent(struct server *s)
{
	int64_t deadline = clock_ms() + SEC(10);

	for (;;) {
		s->c = redisConnectUnixWithTimeout(s->socket, (struct timeval){ .tv_sec = 5 });
		if (s->c != NULL && s->c->err == 0) {
			break;
		}
		redisFree(s->c);
		s->c = NULL;
		if (waitpid(s->pid, NULL, WNOHANG) == s->pid) {
			s->pid = 0;
			fail_msg("the server did not start");
		}
		if (clock_ms() > deadline) {
			fail_msg("the server does not listen");
		}
		nanosleep(&(struct timespec){ .tv_nsec = 2000000 }, NULL);
	}
	redisSetTimeout(s->c, (struct timeval){ .tv_sec = 5 });
}

static void expect_ok(redisReply *r, const char *what)
{
	if (r == NULL || r->type == REDIS_REPLY_ERROR) {
		fail_msg("%s: %s", what, r == NULL ? "no answer" : r->str);
		return;
	}
	freeReplyObject(r);
}

/* Points g at an endpoint of its own and starts a server for it. */
static struct server *start(struct goal *g, struct start_mode mode)
{
	struct server *s = new_server();
	char conf[96], data[96], log[96], pid[96];
	auto_str text = {};

	snprintf(conf, sizeof conf, "%s/redis.conf", s->dir);
	snprintf(data, sizeof data, "%s", s->dir);
	snprintf(log, sizeof log, "%s/server \"x\".log", s->dir);
	snprintf(pid, sizeof pid, "%s/pid", s->dir);
	snprintf(s->socket, sizeof s->socket, "%s/s", s->dir);
	g->address = s->address;
	g->port = s->port;
	conf_write(g, mode, &(struct conf_paths){ data, s->socket, log, pid }, &text);
	/* Somebody who may look at everything, for the test's own questions. */
	str_append(&text, "user looker on nopass ~* +@all\n");
	write_file(conf, &text);
	spawn_server(s, conf, log);
	connect_agent(s);
	expect_ok(redisCommand(s->c, "AUTH %s %s", CONF_USER_AGENT, SECRET_A), "AUTH");
	return s;
}

static struct goal a_goal(enum goal_role role)
{
	return (struct goal){
		.run = GOAL_RUN,
		.role = role,
		.start_at_once = role == GOAL_SOURCE,
		.upstream_host = role == GOAL_REPLICA ? "127.88.0.0" : "",
		.upstream_port = role == GOAL_REPLICA ? 1 : 0,
		.name = "a \"name\"\nrequirepass evil",
		.project = "acme",
		.datastore = "redis",
		.version = "7.0.15",
		.settings = { .maxmemory_bytes = 12345678,
			      .maxmemory_policy = "allkeys-lfu",
			      .backlog_bytes = 33554432,
			      .repl_timeout_s = 15,
			      .ping_period_s = 1,
			      .diskless_sync = true,
			      .diskless_delay_s = 3,
			      .appendfsync = "everysec",
			      .customer_open = true },
		.waiting_replicas = 2,
		.min_slaves_to_write = 1,
		.min_slaves_max_lag_s = 1,
		.secrets = { { SECRET_R }, { SECRET_A } },
	};
}

static void assert_config(struct server *s, const char *name, const char *want)
{
	redisReply *r = redisCommand(s->c, "CONFIG GET %s", name);

	assert_non_null(r);
	assert_int_equal(r->type, REDIS_REPLY_ARRAY);
	if (r->elements != 2 || strcmp(r->element[1]->str, want) != 0) {
		fail_msg("%s is '%s', not '%s'", name, r->elements == 2 ? r->element[1]->str : "",
			 want);
	}
	freeReplyObject(r);
}

/* CONFIG GET shows sizes and both halves of the limits in its own words. */
static bool shown_otherwise(const char *name)
{
	return str_eq(name, "client-output-buffer-limit");
}

static void check_settings(struct server *s, const struct goal *g, struct start_mode mode)
{
	auto_arena a = {};
	const struct conf_setting *c;
	size_t n = conf_live_settings(g, mode, &a, &c);

	assert_true(n > 20);
	for (size_t i = 0; i < n; i++) {
		if (!shown_otherwise(c[i].name)) {
			assert_config(s, c[i].name, c[i].value);
		}
	}
	for (size_t i = 0; i < n; i++) {
		expect_ok(redisCommand(s->c, "CONFIG SET %s %s", c[i].name, c[i].value), c[i].name);
	}
	assert_config(s, "appendonly", mode.from_rdb ? "no" : "yes");
	assert_config(s, "repl-diskless-load", "disabled");
	assert_config(s, "requirepass", "");
	assert_config(s, "bind", s->address);
}

static char *acl_list(struct server *s)
{
	redisContext *c = redisConnectUnix(s->socket);
	auto_str out = {};

	expect_ok(redisCommand(c, "AUTH looker x"), "AUTH looker");
	redisReply *r = redisCommand(c, "ACL LIST");
	assert_int_equal(r->elements, 4);
	for (size_t i = 0; i < r->elements; i++) {
		str_append(&out, r->element[i]->str);
		str_append_char(&out, '\n');
	}
	freeReplyObject(r);
	redisFree(c);
	return str_take(&out);
}

/* Giving the users again changes nothing, and a connection of the customer's lives on. */
static void check_users(struct server *s, const struct goal *g)
{
	auto_arena a = {};
	const struct conf_user *users;
	size_t n = conf_users(g, &a, &users);
	char *before = acl_list(s);
	redisContext *customer = redisConnectUnix(s->socket);

	expect_ok(redisCommand(customer, "PING"), "a customer's PING");
	for (size_t i = 0; i < n; i++) {
		const char *argv[70] = { "ACL", "SETUSER", users[i].name };

		for (size_t k = 0; k < users[i].nrules; k++) {
			argv[3 + k] = users[i].rules[k];
		}
		expect_ok(redisCommandArgv(s->c, 3 + (int)users[i].nrules, argv, NULL),
			  users[i].name);
	}
	char *after = acl_list(s);
	assert_string_equal(after, before);
	free(before);
	free(after);
	expect_ok(redisCommand(customer, "PING"), "the same connection");
	redisReply *r = redisCommand(customer, "CONFIG GET masterauth");
	assert_int_equal(r->type, REDIS_REPLY_ERROR);
	freeReplyObject(r);
	redisFree(customer);
	expect_ok(redisCommand(s->c, "PING"), "the agent's connection");
}

static void check_role(struct server *s, enum server_role role, const char *host, uint16_t port)
{
	redisReply *r = redisCommand(s->c, "INFO");
	struct observation o = {};
	struct err e = {};

	assert_non_null(r);
	assert_ok(info_read(r->str, r->len, &o, &e), &e);
	freeReplyObject(r);
	assert_int_equal(o.role, role);
	assert_string_equal(o.upstream_host, host);
	assert_int_equal(o.upstream_port, port);
	assert_true(replid_known(&o.run_id) && replid_known(&o.replid));
	assert_int_equal(o.last_io_s, -1);
}

static void every_mode_starts(void **)
{
	static const struct {
		const char *says;
		enum goal_role role;
		struct start_mode mode;
		enum server_role is;
		const char *upstream;
		uint16_t port;
	} cases[] = {
		{ "a source", GOAL_SOURCE, {}, SERVER_ROLE_MASTER, "", 0 },
		{ "a source under guard", GOAL_SOURCE, { .guarded = true }, SERVER_ROLE_REPLICA,
		  "127.0.0.1", 0 },
		{ "a replica", GOAL_REPLICA, {}, SERVER_ROLE_REPLICA, "127.88.0.0", 1 },
		{ "a replica from its RDB", GOAL_REPLICA, { .from_rdb = true }, SERVER_ROLE_REPLICA,
		  "127.88.0.0", 1 },
		{ "a sealed goal", GOAL_SEALED, {}, SERVER_ROLE_REPLICA, "127.0.0.1", 0 },
		{ "sealed, from its RDB", GOAL_SEALED, { .from_rdb = true }, SERVER_ROLE_REPLICA,
		  "127.0.0.1", 0 },
		{ "a yielding goal", GOAL_YIELDING, {}, SERVER_ROLE_REPLICA, "127.0.0.1", 0 },
		{ "a guarded goal", GOAL_GUARDED, {}, SERVER_ROLE_REPLICA, "127.0.0.1", 0 },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct goal g = a_goal(cases[i].role);

		print_message("# %s\n", cases[i].says);
		struct server *s = start(&g, cases[i].mode);
		check_settings(s, &g, cases[i].mode);
		check_users(s, &g);
		check_role(s, cases[i].is, cases[i].upstream, cases[i].port);
	}
}

static void customers_without_a_password_are_refused(void **)
{
	struct goal g = a_goal(GOAL_SOURCE);

	g.settings.customer_open = false;
	struct server *s = start(&g, (struct start_mode){});
	redisContext *customer = redisConnectUnix(s->socket);
	redisReply *r = redisCommand(customer, "PING");

	assert_int_equal(r->type, REDIS_REPLY_ERROR);
	assert_memory_equal(r->str, "NOAUTH", 6);
	freeReplyObject(r);
	redisFree(customer);
}

/* The two users are enough for a full copy, and the copy's link shows in INFO. */
static void a_replica_copies_its_source(void **)
{
	struct goal gs = a_goal(GOAL_SOURCE), gr = a_goal(GOAL_REPLICA);
	struct observation o = { .sync_total_bytes = 7 };
	struct err e = {};
	int64_t deadline = clock_ms() + SEC(10);

	gs.min_slaves_to_write = 0;
	gs.waiting_replicas = 1;
	struct server *source = start(&gs, (struct start_mode){});
	gr.upstream_host = source->address;
	gr.upstream_port = source->port;
	struct server *replica = start(&gr, (struct start_mode){});
	while (!o.link_up && clock_ms() < deadline) {
		redisReply *r = redisCommand(replica->c, "INFO");

		assert_ok(info_read(r->str, r->len, &o, &e), &e);
		freeReplyObject(r);
		nanosleep(&(struct timespec){ .tv_nsec = 5000000 }, NULL);
	}
	assert_true(o.link_up);
	assert_int_equal(o.sync_total_bytes, -1);
	assert_true(o.last_io_s >= 0);
	assert_int_equal(o.upstream_port, source->port);
}

/* Runs a server on this configuration until it gives up; its words. */
static void run_failing(struct server *s, const char *text, char *buf, size_t size)
{
	char conf[96], log[96], content[16384];
	auto_str file = {};
	int64_t deadline = clock_ms() + SEC(10);

	snprintf(conf, sizeof conf, "%s/conf", s->dir);
	snprintf(log, sizeof log, "%s/log", s->dir);
	unlink(log);
	str_append(&file, text);
	write_file(conf, &file);
	spawn_server(s, conf, log);
	while (waitpid(s->pid, NULL, WNOHANG) == 0) {
		if (clock_ms() > deadline) {
			fail_msg("it started: %s", text);
		}
		nanosleep(&(struct timespec){ .tv_nsec = 2000000 }, NULL);
	}
	s->pid = 0;
	int fd = open(log, O_RDONLY | O_CLOEXEC);
	ssize_t n = read(fd, content, sizeof content);

	close(fd);
	assert_true(n > 0);
	info_start_error(content, (size_t)n, buf, size);
	print_message("# %s\n", buf);
}

static void an_address_taken_by_a_listener_on_all_of_them_is_named(void **)
{
	struct server *s = new_server();
	struct sockaddr_in sa = { .sin_family = AF_INET };
	socklen_t len = sizeof sa;
	char conf[200], buf[240];

	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof sa), 0);
	assert_int_equal(listen(fd, 1), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&sa, &len), 0);
	snprintf(conf, sizeof conf, "bind %s\nport %u\ndir %s\n", s->address, ntohs(sa.sin_port),
		 s->dir);
	run_failing(s, conf, buf, sizeof buf);
	close(fd);
	assert_non_null(strstr(buf, "Address already in use"));
	assert_non_null(strstr(buf, "leave the address out of agent.addresses"));
}

static void put_file(struct server *s, const char *name, const char *content)
{
	char path[160];
	auto_str text = {};

	snprintf(path, sizeof path, "%s/%s", s->dir, name);
	str_append(&text, content);
	write_file(path, &text);
}

static void bad_files_are_named(void **)
{
	static const struct {
		const char *conf, *want, *hint;
	} cases[] = {
		{ "nosuch \"topsecret\"\n", "in the line 'nosuch ...'", "does not know the setting" },
		{ "masterauth topsecret x\n", "in the line 'masterauth ...'", "does not take" },
		{ "dir /nosuch/folder\n", "No such file or directory", "" },
		{ "user x on >topsecret +nosuch\n", "Unknown command", "" },
		{ "appendonly yes\n", "Bad file format reading the append only file", "redis-check-aof" },
		{ "dbfilename bad.rdb\n", "Can't handle RDB format version 99", "newer version" },
	};
	struct server *s = new_server();
	char path[128];

	snprintf(path, sizeof path, "%s/appendonlydir", s->dir);
	assert_int_equal(mkdir(path, 0700), 0);
	put_file(s, "appendonlydir/appendonly.aof.1.incr.aof", "garbage");
	put_file(s, "appendonlydir/appendonly.aof.manifest",
		 "file appendonly.aof.1.incr.aof seq 1 type i\n");
	put_file(s, "bad.rdb", "REDIS0099xxxxx");
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char conf[300], buf[240];

		snprintf(conf, sizeof conf, "bind %s\nport %u\ndir %s\n%s", s->address, s->port, s->dir,
			 cases[i].conf);
		run_failing(s, conf, buf, sizeof buf);
		assert_non_null(strstr(buf, cases[i].want));
		assert_non_null(strstr(buf, cases[i].hint));
		assert_null(strstr(buf, "topsecret"));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(every_mode_starts, end_servers),
		cmocka_unit_test_teardown(customers_without_a_password_are_refused, end_servers),
		cmocka_unit_test_teardown(a_replica_copies_its_source, end_servers),
		cmocka_unit_test_teardown(an_address_taken_by_a_listener_on_all_of_them_is_named, end_servers),
		cmocka_unit_test_teardown(bad_files_are_named, end_servers),
	};

	if (access(SERVER, X_OK) != 0) {
		return 77; /* meson: skipped */
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
