"""An application that owns contacts, with Python's standard library. See examples/README.md."""
import hashlib
import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote
from urllib.request import Request, urlopen

ROLLCALL = os.environ.get("ROLLCALL", "http://127.0.0.1:5280")
host, port = os.environ.get("LISTEN", "127.0.0.1:9099").rsplit(":", 1)
users = {"john": {"aaron@localhost": {"name": "Aaron"}}, "marie": {}}


def notify(user):
    """Tells rollcall whose contacts have changed. It asks for them before it answers."""
    headers = {"Content-Type": "application/json"}
    if token := os.environ.get("ADMIN_TOKEN"):
        headers["Authorization"] = f"Bearer {token}"
    body = json.dumps([user]).encode()
    with urlopen(Request(ROLLCALL + "/roster_admin/refresh", body, headers), timeout=35) as answer:
        return answer.read()


class Contacts(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # keeps connections open

    def do_GET(self):
        """GET /contacts/USER: whom USER knows."""
        path = [unquote(part) for part in self.path.split("/")]  # split first, then decode, once
        if len(path) != 3 or path[1] != "contacts" or path[2] not in users:
            return self.answer(404)
        body = json.dumps(users[path[2]], sort_keys=True).encode()
        etag = f'W/"{hashlib.sha256(body).hexdigest()[:32]}"'
        if self.headers.get("If-None-Match") == etag:
            return self.answer(304, etag=etag)
        self.answer(200, body, etag)

    def do_PUT(self):
        """PUT /contacts/USER/CONTACT: what USER knows of CONTACT from now on."""
        item = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))))
        path = [unquote(part) for part in self.path.split("/")]
        if len(path) != 4 or path[1] != "contacts":
            return self.answer(404)
        users.setdefault(path[2], {})[path[3]] = item
        self.answer(200, notify(path[2]))

    def answer(self, status, body=b"", etag=None):
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if etag:
            self.send_header("ETag", etag)
        self.end_headers()
        self.wfile.write(body)


ThreadingHTTPServer((host, int(port)), Contacts).serve_forever()  # answers rollcall while another request notifies it
