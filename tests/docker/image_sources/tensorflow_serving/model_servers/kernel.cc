// Copyright: (c) 2026, the tfserving.fleet contributors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later
// The work of the server: what the compiler makes of these loops is what its options allow.
extern "C" float kernel(const float *a, const float *b, float *c, int n) {
  float sum = 0;
  for (int i = 0; i < n; ++i) c[i] += a[i] * b[i];
  for (int i = 0; i < n; ++i) sum += c[i];
  return sum;
}

extern "C" void integers(const int *a, int *c, int n) {
  for (int i = 0; i < n; ++i) c[i] *= a[i] + 3;
}
