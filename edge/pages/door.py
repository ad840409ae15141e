"""The door: signing in with a token, signing out, and who is let in to the pages."""

from __future__ import annotations

from urllib.parse import quote, urlsplit

import structlog
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route
from starlette.types import Scope

from edge.access import SESSION_S, Access
from edge.pages.forms import Form, acting, read
from edge.pages.rendering import HEADERS, TEMPLATES, page

COOKIE = "dealsync_session"
OPEN = ("/login", "/style.css")
"""What is shown to anybody: how to sign in, and in which colours."""

_STYLE = (TEMPLATES / "style.css").read_bytes()
_ELSEWHERE = ("cross-site", "same-site")

log = structlog.get_logger()


def let_in(scope: Scope, access: Access) -> Response | None:
    """Why a request for a page is not looked at any further; None, and its session in the scope's state, when it is."""
    request = Request(scope)
    acts = request.method not in ("GET", "HEAD")
    if acts and request.headers.get("sec-fetch-site") in _ELSEWHERE:
        return Response("another site has sent this form; nothing was done\n", 403, media_type="text/plain")
    if request.url.path in OPEN:
        return None
    session = access.by_session(request.cookies.get(COOKIE, ""))
    if session is None:
        if acts:
            return page(request, "login.html", 401, title="Sign in", following="/", wrong=_SIGNED_OUT)
        asked = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return RedirectResponse(f"/login?next={quote(asked, safe='')}", 303, HEADERS)
    if acts and not session.visitor.may_act and request.url.path != "/logout":
        name = session.visitor.name
        return Response(f"the token {name!r} is read_only: it may look and not act\n", 403, media_type="text/plain")
    scope.setdefault("state", {})["session"] = session
    return None


_SIGNED_OUT = "You are signed out, and nothing was done. Sign in, then do it again."


def show_login(request: Request) -> Response:
    """The form that asks for a token."""
    following = _ours(request.query_params.get("next", "/"))
    return page(request, "login.html", title="Sign in", following=following, wrong=None)


async def login(request: Request) -> Response:
    """Begin a session for whoever bears a token."""
    form = await read(request)
    access: Access = request.app.state.access
    following = _ours(form.get("next", "/"))
    cookie = access.begin(form.get("token", "").strip())
    if cookie is None:
        log.warning("pages.refused", reason="no token of ours")
        return page(request, "login.html", 401, title="Sign in", following=following, wrong="There is no such token.")
    answer = RedirectResponse(following, 303, HEADERS)
    answer.set_cookie(
        COOKIE, cookie, max_age=SESSION_S, httponly=True, samesite="strict", secure=_over_tls(request), path="/"
    )
    return answer


def logout(_: Request, __: Form) -> Response:
    """End the session of this browser."""
    answer = RedirectResponse("/login", 303, HEADERS)
    answer.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")
    return answer


def _ours(path: str) -> str:
    """A path of our own to go on to; the overview for anything else, another site's address above all."""
    parts = urlsplit(path)
    fits = path.startswith("/") and path[1:2] not in ("/", "\\") and path.isprintable() and path.isascii()
    return path if fits and not parts.scheme and not parts.netloc else "/"


def _over_tls(request: Request) -> bool:
    """Whether the browser speaks TLS, to us or to a proxy before us. Whoever lies about it harms their own session."""
    said = (request.headers.get("origin", ""), request.headers.get("x-forwarded-proto", ""), request.url.scheme)
    return any(one.lower().startswith("https") for one in said)


def style(_: Request) -> Response:
    """The one style sheet."""
    return Response(_STYLE, headers={"Cache-Control": "public, max-age=3600"}, media_type="text/css")


def nowhere(request: Request) -> Response:
    """There is no such page."""
    raise HTTPException(404, f"there is no page {request.url.path[:80]}")


ROUTES = (
    Route("/login", show_login, methods=["GET"]),
    Route("/login", login, methods=["POST"]),
    Route("/logout", acting(logout), methods=["POST"]),
    Route("/style.css", style, methods=["GET"]),
    Route("/{path:path}", nowhere, methods=["GET"]),
)
