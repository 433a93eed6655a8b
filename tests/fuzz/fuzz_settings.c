/* The settings file: whatever is in it, every bad line is named and every row has a value. */
#include "fuzz.h"

#include <sys/mman.h>
#include <unistd.h>

#include "io/settings.h"

static void check_values(struct settings *s)
{
	for (size_t i = 0; i < nsettings; i++) {
		const struct setting *row = &settings_table[i];
		struct err e = {};

		PROMISE(s->text[i] != NULL);
		if (row->type == SETTING_INT) {
			int64_t v = setting_int(s, row->name);

			PROMISE(v >= row->min && v <= row->max);
		} else if (row->type == SETTING_BOOL) {
			(void)setting_bool(s, row->name);
		} else {
			PROMISE(strcmp(setting_text(s, row->name), s->text[i]) == 0);
		}
		/* What the file may say the command line may say too. */
		PROMISE(settings_set(s, row->name, s->text[i], &e));
	}
	PROMISE(s->nflavors > 0 && settings_flavor(s, s->flavors[0].id) != NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_str report = {};
	struct settings s;
	struct err e = {};
	char path[64];

	int fd = memfd_create("settings", MFD_CLOEXEC);
	PROMISE(fd >= 0 && write(fd, data, size) == (ssize_t)size);
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	if (settings_load(path, &report, &s, &e)) {
		PROMISE(report.len == 0);
		check_values(&s);
		settings_done(&s);
	} else {
		PROMISE_REFUSED(e);
	}
	close(fd);
	return 0;
}
