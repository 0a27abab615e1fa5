"""Sends HTTP requests as StackStorm's http-request runner does."""

import base64
import json
import ssl
import urllib.error
import urllib.parse
import urllib.request


class NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


def send(parameters):
    """Returns whether the request succeeded, and {status_code, body, parsed, headers}."""
    url = parameters.get("url") or ""
    host = urllib.parse.urlsplit(url).hostname or ""
    if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
        raise SystemExit("The address must begin with http:// or https://.")
    if host in (parameters.get("url_hosts_blacklist") or []):
        raise SystemExit('The host "%s" is not allowed.' % host)
    allowed = parameters.get("url_hosts_whitelist")
    if allowed and host not in allowed:
        raise SystemExit('The host "%s" is not among the allowed ones.' % host)
    if parameters.get("params"):
        url += ("&" if "?" in url else "?") + urllib.parse.urlencode(parameters["params"], doseq=True)
    headers = {str(name): str(value) for name, value in (parameters.get("headers") or {}).items()}
    if parameters.get("username"):
        plain = "%s:%s" % (parameters["username"], parameters.get("password") or "")
        headers["Authorization"] = "Basic " + base64.b64encode(plain.encode()).decode()
    if parameters.get("cookies"):
        headers["Cookie"] = "; ".join("%s=%s" % pair for pair in parameters["cookies"].items())
    body = parameters.get("body")
    if isinstance(body, (dict, list)):
        body = json.dumps(body)
        headers.setdefault("Content-Type", "application/json")
    method = parameters.get("method") or ("POST" if body else "GET")
    request = urllib.request.Request(url, data=body.encode() if body else None, headers=headers, method=method)
    try:
        with opener(parameters).open(request, timeout=float(parameters.get("timeout") or 60)) as response:
            return answer(response)
    except urllib.error.HTTPError as error:
        return answer(error)


def opener(parameters):
    context = ssl.create_default_context()
    if parameters.get("verify_ssl_cert") is False:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    handlers = [urllib.request.HTTPSHandler(context=context)]
    proxies = {kind: parameters.get(kind + "_proxy") for kind in ("http", "https") if parameters.get(kind + "_proxy")}
    if proxies:
        handlers.append(urllib.request.ProxyHandler(proxies))
    if not parameters.get("allow_redirects"):
        handlers.append(NoRedirect())
    return urllib.request.build_opener(*handlers)


def answer(response):
    text = response.read().decode(errors="replace")
    parsed = False
    body = text
    if "json" in (response.headers.get("Content-Type") or ""):
        try:
            body, parsed = json.loads(text), True
        except ValueError:
            pass
    status = response.status
    result = {"status_code": status, "body": body, "parsed": parsed, "headers": dict(response.headers.items())}
    return 200 <= status < 300, result
