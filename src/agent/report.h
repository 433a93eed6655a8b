/*
 * What of an observation is news, and how urgent. What moves by itself all the time (offset,
 * memory, clients) goes along with real news, and by itself only every few seconds, or at once
 * while the control plane asks for a stream of it.
 */
#pragma once

#include "core/observation.h"

enum report_news { NEWS_NONE, NEWS_SLOW, NEWS_NOW };

enum { REPORT_SLOW_PERIOD_MS = 3000 };

enum report_pace { REPORT_CALM, REPORT_STREAM };

enum report_news report_compare(const struct observation *now, const struct observation *sent,
				enum report_pace pace);
