"""Who may ask: the token is spent once, names and origins are checked, and the browser is told what it may do."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from hmac import compare_digest
from unittest.mock import patch

import pytest

import cnnviz
from cnnviz.explorer import guard
from cnnviz.explorer.guard import Keyring
from tests.support.visitor import Visitor


def test_a_token_is_exchanged_once_for_a_cookie_that_scripts_do_not_see(explorer):
    url = explorer.url
    visitor = Visitor(explorer, enter=False)
    status, headers, body = visitor.enter(url)
    assert (status, headers["location"], body) == (303, "./", b"")
    assert {"HttpOnly", "SameSite=Strict"} <= set(headers["set-cookie"].split("; "))
    assert "Path" not in headers["set-cookie"]  # the browser takes the folder that it asked, behind a proxy too
    assert visitor.ask("/")[0] == visitor.ask("/api/session")[0] == 200
    stranger = Visitor(explorer, enter=False)
    assert stranger.enter(url)[0] == 403
    assert stranger.cookie == ""


def test_of_many_who_come_with_one_token_one_gets_in(explorer):
    url = explorer.url
    with ThreadPoolExecutor(8) as pool:
        came = list(pool.map(lambda _: Visitor(explorer, enter=False).enter(url)[0], range(8)))
    assert sorted(came) == [303] + [403] * 7


@pytest.mark.parametrize(
    "path",
    ["/", "/index.html", "/config.js", "/style.css", "/api/session", "/api/pictures/scene-0.png.png", "/api/nothing"],
)
def test_without_the_cookie_everything_is_refused_in_a_sentence(explorer, path):
    stranger = Visitor(explorer, enter=False)
    status, sentence = stranger.refused(path[1:])
    assert status == 403
    assert "opens with the address that it printed" in sentence
    assert stranger.refused(path[1:], cookie="cnnviz-00000000=guess")[0] == 403
    assert stranger.refused(path[1:], x_explorer_token="guess")[0] == 403


def test_secrets_are_compared_in_constant_time_one_with_all():
    keys = Keyring()
    tokens = [keys.new_token() for _ in range(3)]
    with patch.object(guard, "compare_digest", wraps=compare_digest) as compared:
        assert not keys.spend("x" * 43, "page")
        assert compared.call_count == 3
        assert keys.spend(tokens[1], "page")
        assert keys.admits([], None) is False
        assert keys.admits(["x", keys.cookie], None)
    assert not keys.spend(tokens[1], "page")
    assert not keys.spend(tokens[0], "frame")
    assert len({*tokens, keys.cookie, keys.header}) == 5
    assert min(map(len, tokens)) >= 43


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "192.168.0.7", "[", "", "0x7f000001"])
def test_another_name_is_refused_so_that_no_page_can_rebind_one(explorer, visitor, host):
    status, sentence = visitor.refused("api/session", host=host)
    assert (status, "not one of this explorer's" in sentence) == (403, True)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LOCALHOST:1", "[::1]:80"])
def test_this_machine_s_names_are_known(visitor, host):
    assert visitor.ask("/api/session", host=host)[0] == 200


def test_names_of_a_proxy_are_known_where_they_are_given(network):
    with cnnviz.explore(network, [], hosts=["hub.example"]) as running:
        visitor = Visitor(running)
        assert visitor.ask("/api/session", host="hub.example", origin="https://hub.example")[0] == 200
        assert visitor.refused("api/session", host="other.example")[0] == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:1"},
        {"sec_fetch_site": "cross-site", "sec_fetch_mode": "no-cors"},
        {"sec_fetch_site": "same-site", "sec_fetch_mode": "cors"},
    ],
)
def test_pages_of_other_servers_are_refused_with_the_cookie_too(visitor, headers):
    for body in (None, b"{}"):
        status, sentence = visitor.refused("api/session", body, **headers)
        assert (status, sentence) == (403, "This was asked by a page of another server.")


def test_its_own_page_is_answered(visitor, explorer):
    headers = {"origin": f"http://127.0.0.1:{explorer.port}", "sec_fetch_site": "same-origin"}
    assert visitor.ask("/api/session", **headers)[0] == 200


def test_a_link_of_another_page_leads_in_without_a_redirect(explorer):
    """A browser keeps a strict cookie back where another site's link led to a redirect."""
    visitor = Visitor(explorer, enter=False)
    path = explorer.url.partition(str(explorer.port))[2]
    status, headers, body = visitor.ask(path, sec_fetch_site="cross-site", sec_fetch_mode="navigate")
    assert (status, headers["content-type"]) == (200, "text/html")
    assert b"url=./" in body
    assert b"script" not in body
    assert "HttpOnly" in headers["set-cookie"]


def test_the_browser_is_told_what_it_may_do(visitor):
    for path in ("/", "/api/session", "/api/pictures/scene-0.png.png", "/api/nothing"):
        headers = visitor.ask(path)[1]
        rules = dict(rule.strip().partition(" ")[::2] for rule in headers["content-security-policy"].split(";"))
        assert rules["default-src"] == rules["frame-ancestors"] == rules["base-uri"] == rules["form-action"] == "'none'"
        assert rules["script-src"] == rules["style-src"] == rules["connect-src"] == "'self'"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
        assert not [name for name in headers if name.startswith("access-control") or name == "server"]


def test_a_frame_of_a_notebook_is_let_in_by_a_header_and_only_then_shown_in_pages(network):
    with cnnviz.explore(network, []) as running:
        stranger = Visitor(running, enter=False)
        assert stranger.ask("/style.css")[0] == 403
        shown = running._repr_html_()
        path = re.search(r'src="http://127\.0\.0\.1:\d+(/\?token=[\w-]+)"', shown)[1]
        status, headers, page = stranger.ask(path, sec_fetch_site="cross-site", sec_fetch_mode="navigate")
        assert status == 200
        assert "set-cookie" not in headers
        assert "frame-ancestors 'self' http://localhost:*" in headers["content-security-policy"]
        views = stranger.ask("/views/none.js")[0], stranger.ask("/views/x/y.js")[0], stranger.ask("/views/../a.html")[0]
        assert views == (404, 403, 403)
        script = re.search(rb'src="(config\.js\?once=[\w-]+)"', page)[1].decode()
        assert stranger.ask("/config.js")[0] == 403
        token = re.search(rb'"([\w-]+)"', stranger.file(script))[1].decode()
        assert stranger.ask(f"/{script}")[0] == 403
        assert stranger.ask(path)[0] == 403
        assert stranger.ask("/api/session")[0] == 403
        assert stranger.ask("/api/session", x_explorer_token=token)[0] == 200
        assert b"null" in Visitor(running).file("config.js")


def test_websockets_and_other_ways_are_refused(visitor):
    status, _, _ = visitor.ask(
        "/api/session", connection="upgrade", upgrade="websocket", sec_websocket_key="x", sec_websocket_version="13"
    )
    assert status == 200  # answered as what it asks for, with no socket
    assert visitor.ask("/api/session", method="DELETE")[0] == 405
    assert visitor.ask("/api/session", method="OPTIONS")[0] == 405
