// Copyright: (c) 2026, the tfserving.fleet contributors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later
// A server that serves nothing: it works once, says as TensorFlow does which of the CPU's instructions it was not compiled for, and waits for its end.
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

extern "C" float kernel(const float *, const float *, float *, int);
extern "C" void integers(const int *, int *, int);

#define SAYS "2026-04-23 10:11:12.131415: I external/org_tensorflow/tensorflow/"

static bool shows(const char *flag) {
  char line[8192];
  bool found = false;
  FILE *stream = fopen("/proc/cpuinfo", "r");
  while (stream && !found && fgets(line, sizeof line, stream)) {
    if (strncmp(line, "flags", 5)) continue;
    for (char *word = strtok(line, " \n"); word; word = strtok(nullptr, " \n")) found = found || !strcmp(word, flag);
  }
  if (stream) fclose(stream);
  return found;
}

int main(int argc, char **argv) {
  static float a[256], b[256], c[256];
  static int d[256], e[256];
  kernel(a, b, c, 255 + (argc > 99));
  integers(d, e, 255 + (argc > 99));
  char unused[256] = "";
#ifndef __AVX2__
  if (shows("avx2")) strcat(unused, "AVX2 ");
#endif
#ifndef __AVX512F__
  if (shows("avx512f")) strcat(unused, "AVX512F ");
#endif
#ifndef __FMA__
  if (shows("fma")) strcat(unused, "FMA ");
#endif
  if (unused[0]) {
    unused[strlen(unused) - 1] = 0;
    fprintf(stderr, SAYS "core/platform/cpu_feature_guard.cc:210] This TensorFlow binary is optimized to use available CPU instructions in "
            "performance-critical operations.\nTo enable the following instructions: %s, in other operations, rebuild TensorFlow with the appropriate "
            "compiler flags.\n", unused);
  }
  fprintf(stderr, SAYS "cc/saved_model/loader.cc:236] Restoring SavedModel bundle.\n");
  fprintf(stderr, "2026-04-23 10:11:12.131416: I tensorflow_serving/model_servers/server.cc:423] Running gRPC ModelServer at 0.0.0.0:8500 ...\n");
  signal(SIGTERM, [](int) { _exit(0); });
  for (;;) pause();
}
