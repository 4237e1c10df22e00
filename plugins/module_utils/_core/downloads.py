# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Adapter that opens HTTP addresses, and rejects redirects from HTTPS to a less secure scheme."""

from __future__ import annotations

import urllib.error
import urllib.parse
import urllib.request
from typing import Any


class _Redirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        scheme = urllib.parse.urlsplit(newurl).scheme
        if scheme not in ("https", req.type):
            raise urllib.error.URLError(f"the server redirects from {req.type} to {scheme}, which is not followed")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def opener(*handlers: Any) -> urllib.request.OpenerDirector:
    """Return an opener, as urllib.request.build_opener() does."""
    return urllib.request.build_opener(_Redirects, *handlers)
