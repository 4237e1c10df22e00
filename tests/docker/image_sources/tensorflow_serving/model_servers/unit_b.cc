// Copyright: (c) 2026, the tfserving.fleet contributors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later
// A unit that takes a compiler about a second.
#include <map>
#include <sstream>
#include <string>
std::string unit_b(const std::string &text) {
  std::map<std::string, std::string> known{{"b", text}};
  std::ostringstream out;
  for (const auto &each : known) out << each.first << each.second;
  return out.str();
}
