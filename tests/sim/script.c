/*
 * The server model by itself: a script of commands to servers a to f, one a line, and what they
 * show. model_test.py plays the same script on real servers and compares every line, so nothing
 * is printed that depends on time, on how many bytes a write is, or on the name of a random id:
 * ids are letters in the order in which they are first shown, offsets ranks.
 *
 *	start X [of Y | closed]     an empty server, master or replica
 *	restart X aof|rdb [of Y | closed]
 *	slaveof X Y|closed|nobody
 *	write X N                   N writes; what the last was answered
 *	kill X | stop X | cont X    SIGKILL, SIGSTOP, SIGCONT
 *	save X | aof-on X           SAVE; CONFIG SET appendonly yes
 *	pause X MS                  CLIENT PAUSE MS WRITE; 0: CLIENT UNPAUSE
 *	min-slaves X N LAG
 *	rest                        until links and streams have come to rest
 *	sleep MS
 *	show
 */
#include <stdlib.h>

#include "base/str.h"
#include "world.h"

enum { WORDS_MAX = 5, REST_MOST_MS = 30000, STANDSTILL_MS = 1500, IDS_MAX = 64 };

struct script {
	struct world *w;
	struct replid ids[IDS_MAX];
	size_t nids;
	uint32_t writes;
};

/* time */

static void pass(struct world *w, int64_t until_ms)
{
	while (w->now_ms < until_ms) {
		int64_t next = until_ms;

		for (int i = 0; i < SIM_NODES; i++) {
			int64_t at = w->nodes[i].server.wake_ms;

			next = at < next ? at : next;
		}
		w->now_ms = next > w->now_ms ? next : w->now_ms + 1;
		for (int i = 0; i < SIM_NODES; i++) {
			if (w->now_ms >= w->nodes[i].server.wake_ms) {
				server_tick(w, i);
			}
		}
	}
}

/* Whoever can have a link has one, and has taken what was sent to it. */
static bool at_rest(const struct world *w)
{
	for (int i = 0; i < SIM_NODES; i++) {
		const struct server *s = &w->nodes[i].server;
		bool paused = w->now_ms < s->pause_ms;

		if (!s->alive || s->stopped) {
			continue;
		}
		if (server_loading(w, s) || s->rewrite_ms != 0 || s->link > LINK_CONNECT) {
			if (s->link != LINK_UP || server_loading(w, s) || s->rewrite_ms != 0) {
				return false;
			}
		}
		if (s->link == LINK_UP && s->inbox.len > 0 && !paused) {
			return false;
		}
	}
	return true;
}

static void rest(struct world *w)
{
	int64_t end_ms = w->now_ms + REST_MOST_MS;

	pass(w, w->now_ms + STANDSTILL_MS);
	while (!at_rest(w) && w->now_ms < end_ms) {
		pass(w, w->now_ms + 100);
	}
}

/* showing */

static char letter(struct script *s, const struct replid *id)
{
	size_t i = 0;

	if (!replid_known(id)) {
		return '-';
	}
	while (i < s->nids && !replid_eq(&s->ids[i], id)) {
		i++;
	}
	if (i == s->nids && s->nids < IDS_MAX) {
		s->ids[s->nids++] = *id;
	}
	return (char)('A' + i);
}

static unsigned rank(const struct world *w, int64_t offset)
{
	int64_t below[SIM_NODES];
	unsigned n = 0;

	for (int i = 0; i < SIM_NODES; i++) {
		const struct server *s = &w->nodes[i].server;
		bool counted = !server_answers(w, s) || s->at.offset >= offset;

		for (unsigned k = 0; !counted && k < n; k++) {
			counted = below[k] == s->at.offset;
		}
		if (!counted) {
			below[n++] = s->at.offset;
		}
	}
	return n;
}

static void show_role(const struct world *w, const struct server *s)
{
	if (!s->replica) {
		printf(" master");
	} else if (s->upstream == SIM_NOBODY) {
		printf(" replica of nobody, down");
	} else {
		printf(" replica of %c, %s", 'a' + s->upstream, s->link == LINK_UP ? "up" : "down");
	}
	(void)w;
}

static void show(struct script *sc)
{
	const struct world *w = sc->w;

	for (int i = 0; i < SIM_NODES; i++) {
		const struct server *s = &w->nodes[i].server;

		if (!server_answers(w, s)) {
			continue;
		}
		printf("%c:", 'a' + i);
		show_role(w, s);
		/* An id without a backlog, and so without a stream, means nothing to anybody. */
		printf("; id %c", letter(sc, &s->at.replid));
		printf(", before it %c", letter(sc, &s->replid2));
		if (replid_known(&s->replid2)) {
			printf(" up to %s",
			       s->second_offset - 1 == s->at.offset ? "here" : "earlier");
		}
		printf("; offset %u; full %" PRId64 ", partial %" PRId64 "; data",
		       rank(w, s->at.offset), s->sync_full, s->sync_partial);
		for (int k = 0; k < DATA_KEYS; k++) {
			printf(" %u", s->data.value[k]);
		}
		printf("\n");
	}
}

/* commands */

static const char *answer_text(enum write_answer a)
{
	switch (a) {
	case WRITE_OK:
		return "OK";
	case WRITE_READONLY:
		return "READONLY";
	case WRITE_NOREPLICAS:
		return "NOREPLICAS";
	case WRITE_PAUSED:
	case WRITE_NO_ANSWER:
		break;
	}
	return "no answer";
}

static void write_some(struct script *s, int node, int64_t n)
{
	enum write_answer a = WRITE_OK;

	for (int64_t i = 0; i < n && a == WRITE_OK; i++) {
		a = server_write_answer(s->w, node);
		if (a == WRITE_OK) {
			server_write(s->w, node, ++s->writes);
		}
	}
	printf("write %c: %s\n", 'a' + node, answer_text(a));
}

/* "of Y", "closed" or nothing. */
static struct server_start how_to_start(char **words, size_t n, size_t at)
{
	struct server_start how = { .upstream = SIM_NOBODY, .max_lag_s = 10 };

	if (at < n) {
		how.replica = true;
		if (str_eq(words[at], "of") && at + 1 < n) {
			how.upstream = words[at + 1][0] - 'a';
		}
	}
	return how;
}

static void start(struct script *s, int node, const struct server_start *how)
{
	struct node *n = &s->w->nodes[node];

	if (how->from_rdb) {
		n->files.aof = (struct aof){};
	}
	n->files.folder = true;
	server_start(s->w, node, how);
	pass(s->w, n->server.ready_ms + 1);
}

static int64_t number(const char *word)
{
	uint64_t n = 0;

	return str_to_u64(word, &n) ? (int64_t)n : 0;
}

static void slaveof(struct script *s, int node, const char *whom)
{
	if (str_eq(whom, "nobody")) {
		server_promote(s->w, node);
	} else {
		server_follow(s->w, node, str_eq(whom, "closed") ? SIM_NOBODY : whom[0] - 'a');
	}
}

/* About one server; false: there is no such command. */
static bool command_to(struct script *s, int node, char **words, size_t n)
{
	struct server *server = &s->w->nodes[node].server;

	if (str_eq(words[0], "start")) {
		struct server_start how = how_to_start(words, n, 2);

		start(s, node, &how);
	} else if (str_eq(words[0], "restart") && n > 2) {
		struct server_start how = how_to_start(words, n, 3);

		how.from_rdb = str_eq(words[2], "rdb");
		start(s, node, &how);
	} else if (str_eq(words[0], "slaveof") && n > 2) {
		slaveof(s, node, words[2]);
	} else if (str_eq(words[0], "write") && n > 2) {
		write_some(s, node, number(words[2]));
	} else if (str_eq(words[0], "kill")) {
		server_die(s->w, node);
	} else if (str_eq(words[0], "stop")) {
		server->stopped = true;
	} else if (str_eq(words[0], "cont")) {
		server->stopped = false;
		server->wake_ms = s->w->now_ms;
	} else if (str_eq(words[0], "save")) {
		server_save(s->w, node);
	} else if (str_eq(words[0], "aof-on")) {
		server_aof_on(s->w, node);
	} else if (str_eq(words[0], "pause") && n > 2) {
		server_pause(s->w, node, number(words[2]));
	} else if (str_eq(words[0], "min-slaves") && n > 3) {
		server_min_slaves(s->w, node, (uint32_t)number(words[2]),
				  (uint32_t)number(words[3]));
	} else {
		return false;
	}
	return true;
}

static bool command(struct script *s, char **words, size_t n)
{
	if (n == 0) {
		return true;
	}
	if (str_eq(words[0], "show")) {
		show(s);
	} else if (str_eq(words[0], "rest")) {
		rest(s->w);
	} else if (str_eq(words[0], "sleep") && n > 1) {
		pass(s->w, s->w->now_ms + number(words[1]));
	} else {
		int node = n > 1 ? words[1][0] - 'a' : SIM_NOBODY;

		return node >= 0 && node < SIM_NODES && command_to(s, node, words, n);
	}
	return true;
}

static size_t split(char *line, char **words)
{
	size_t n = 0;
	char *save = NULL;

	line[strcspn(line, "#\n")] = '\0';
	for (char *word = strtok_r(line, " ", &save); word != NULL && n < WORDS_MAX;
	     word = strtok_r(NULL, " ", &save)) {
		words[n++] = word;
	}
	return n;
}

static int play(struct script *s, FILE *f)
{
	char line[200];
	char *words[WORDS_MAX];

	while (fgets(line, sizeof line, f) != NULL) {
		size_t n = split(line, words);

		if (!command(s, words, n)) {
			fprintf(stderr, "no such command: %s\n", words[0]);
			return 2;
		}
	}
	return 0;
}

int sim_script(const char *path)
{
	FILE *f = fopen(path, "re");
	struct script s = { .w = calloc(1, sizeof *s.w) };

	if (f == NULL || s.w == NULL) {
		perror(path);
		return 2;
	}
	world_init(s.w, &(struct sim_options){ .seed = 1 });
	s.w->quiet = true;
	s.w->diskless = false;
	s.w->backlog_entries = STREAM_MAX;
	for (int i = 0; i < SIM_HOSTS; i++) {
		s.w->hosts[i].agent.up = false;
	}
	int rc = play(&s, f);

	free(s.w);
	fclose(f);
	return rc;
}
