"""The server behind a web server that keeps it below a path of its own, as https://example.org/zoo/."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import quote, unquote, urljoin

import pytest
from browser import browser, opened
from serving import Server

__all__ = ["browser"]  # a fixture

PREFIX = "/tools/architecture/zoo"  # with a word that paths of the server have, too
READY = "() => window.zoo && window.zoo.mapSeconds"


def stripping(port: int, failed: list[str]) -> type[BaseHTTPRequestHandler]:
    """Handle requests as nginx does with ``location /zoo/ { proxy_pass http://127.0.0.1:8765/; }``."""

    class Proxy(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            if not self.path.startswith(f"{PREFIX}/"):
                self.send_error(404)
                failed.append(self.path)
                return
            path, mark, query = self.path.removeprefix(PREFIX).partition("?")
            sent = quote(unquote(path)) + mark + query  # an escaped slash comes out as a slash, as from nginx
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            headers = {**self.headers, "Host": f"127.0.0.1:{port}"}
            connection.request(self.command, sent, body or None, headers)
            answer = connection.getresponse()
            content = answer.read()
            connection.close()
            if answer.status >= 300:
                failed.append(f"{self.path} {answer.status}")
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in ("connection", "transfer-encoding", "content-length", "date", "server"):
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_POST = do_GET  # noqa: N815 - as the class wants it

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    return Proxy


@pytest.fixture(scope="module")
def proxied(server: Server) -> Iterator[tuple[str, list[str]]]:
    """Where the pages are, and what could not be answered."""
    failed: list[str] = []
    with ThreadingHTTPServer(("127.0.0.1", 0), stripping(server.port, failed)) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{proxy.server_port}{PREFIX}/", failed
        proxy.shutdown()
        thread.join()


@pytest.mark.slow
def test_pages_below_a_path_of_a_proxy(browser: Any, proxied: tuple[str, list[str]]) -> None:
    root, failed = proxied
    with opened(browser, root) as visit:
        page = visit.page
        page.wait_for_function(READY)
        page.fill("#search", "test_vit")
        page.keyboard.press("Enter")
        page.click("#facts h2 a")
        page.wait_for_selector("main .weights li")
        assert page.url == f"{root}architecture/test_vit"
        page.locator("main .near a", has_text="test_vit2").first.click()
        page.wait_for_function("() => document.title === 'test_vit2'")
        page.wait_for_selector("main .weights li")
        page.goto(f"{root}architecture/timm%3Atest_vit")
        page.click("text=Find sources for it")
        page.wait_for_selector(".ranking tbody tr")
        assert page.url == f"{root}recommend#test_vit"
        page.locator(".ranking a").first.click()
        page.click("text=Show on the map")
        page.wait_for_selector("#facts .weights li")
        assert page.url.startswith(f"{root}#")
        for name, address in (("Recommend", "recommend"), ("API", "api"), ("Map", "")):
            page.click(f"nav >> text={name}")
            page.wait_for_url(f"{root}{address}")
        page.goto(f"{root}api")
        address = page.get_by_role("link", name="/api/openapi.json").get_attribute("href")
        answer = page.request.get(urljoin(page.url, address))
        (place,) = answer.json()["servers"]
        assert urljoin(answer.url, place["url"]) == root
    assert failed == []


def test_a_slash_too_many_leads_to_the_page(server: Server) -> None:
    answer = server.ask("/recommend/")
    assert (answer.status, answer.headers["location"]) == (307, "../recommend")
    assert server.ask("/api/status/").status == 404


@pytest.mark.parametrize("page", ["recommend", "api"])
@pytest.mark.parametrize(
    "query", ["name=resnet18", "name=a%26b%20%C3%A9&k=3", "name=%0d%0aX-Evil:%201", "a=b?c//d"]
)
def test_a_slash_too_many_keeps_the_query(server: Server, page: str, query: str) -> None:
    answer = server.ask(f"/{page}/?{query}")
    assert (answer.status, answer.headers["location"]) == (307, f"../{page}?{query}")
    assert "x-evil" not in answer.headers
