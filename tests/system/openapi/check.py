"""check.py - is docs/openapi.yaml sound, and does the service do what it says?

    check.py openapi.yaml sound             the document by itself, and its examples
    check.py openapi.yaml routes            prints ["GET /jobs", …]
    check.py openapi.yaml codes             prints the codes of its problems
    check.py openapi.yaml answers FILE      a JSON list of exchanges against it
    check.py openapi.yaml unseen FILE       prints the documented answers not in it
    check.py openapi.yaml deliveries FILE   a JSON list of webhooks against it

An exchange is {"method", "path", "body", "status", "headers", "answer"}: texts, and
headers as a list of pairs; a webhook {"type", "headers", "body"}. What does not fit is printed, a line each; then the status
is 1.
"""

import json
import re
import sys

import yaml
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

METHODS = ("get", "post", "put", "patch", "delete")
# of every answer, or of the connection: the web server's
PLAIN = {"connection", "content-length", "content-type", "date", "transfer-encoding",
         "server"}


class Document:
    def __init__(self, path):
        with open(path) as f:
            self.tree = yaml.safe_load(f)
        resource = Resource(contents=self.tree, specification=DRAFT202012)
        self._registry = Registry().with_resource("urn:api", resource)

    def follow(self, node):
        while isinstance(node, dict) and "$ref" in node:
            target = self.tree
            for part in node["$ref"].removeprefix("#/").split("/"):
                target = target[part.replace("~1", "/").replace("~0", "~")]
            node = target
        return node

    def wrong(self, schema, value):
        """What of the value does not fit the schema."""
        def absolute(node):
            if isinstance(node, list):
                return [absolute(n) for n in node]
            if isinstance(node, dict):
                return {k: "urn:api" + v if k == "$ref" else absolute(v)
                        for k, v in node.items()}
            return node

        validator = Draft202012Validator(absolute(schema), registry=self._registry)
        return [f"{error.json_path}: {error.message[:300]}"
                for error in validator.iter_errors(value)]

    def operations(self):
        for path, item in self.tree["paths"].items():
            for method in METHODS:
                if method in item:
                    yield method.upper(), path, item, item[method]

    def fitting(self, path):
        """(path, its item) of all that fit, the best first."""
        there = []
        for template, item in self.tree["paths"].items():
            pattern = re.sub(r"\\\{.*?\\\}", "[^/]+", re.escape(template))
            if re.fullmatch(pattern, path.partition("?")[0]):
                there.append((template, item))
        return sorted(there, key=lambda t: t[0].count("{"))

    def find(self, method, path):
        """The path that fits best, its item, and its operation or None."""
        there = self.fitting(path)
        if not there:
            return None, None, None
        template, item = there[0]
        return template, item, item.get("get" if method == "HEAD" else method.lower())


# --- the document by itself --------------------------------------------------------


def examples(node, where="#"):
    """(where, schema or None, x-items, example) of all media types below."""
    if isinstance(node, list):
        for n, child in enumerate(node):
            yield from examples(child, f"{where}/{n}")
    elif isinstance(node, dict):
        if "schema" in node and "example" in node:
            yield where, node, node["example"]
        if "schema" in node:
            for name, example in (node.get("examples") or {}).items():
                yield f"{where}/{name}", node, example
        for key, child in node.items():
            if key not in ("example", "examples"):
                yield from examples(child, f"{where}/{key}")


def sound(document):
    validate(document.tree)
    problems = []
    for where, media, example in examples(document.tree):
        example = document.follow(example)
        if isinstance(example, dict) and set(example) <= {"summary", "value"}:
            example = example["value"]
        problems += [f"{where}: {p}" for p in of_media(document, media, example)]
    ids = [operation.get("operationId") for *_, operation in document.operations()]
    if len(set(ids)) != len(ids) or None in ids:
        problems.append("operationIds are not there or not unique")
    return problems


# --- exchanges ---------------------------------------------------------------------


def of_media(document, media, value):
    problems = document.wrong(media["schema"], value)
    if "x-items" in media:
        for line in value.splitlines():
            if line.strip():
                problems += document.wrong(media["x-items"], json.loads(line))
    if "x-event-data" in media:
        for data in re.findall(r"^data: ?(.*)$", value, re.M):
            problems += document.wrong(media["x-event-data"], json.loads(data))
    return problems


def of_body(document, content, type, text):
    """What of a body does not fit what is said of its type."""
    name = type.partition(";")[0].strip()
    media = content.get(name) or content.get("*/*")
    if media is None:
        return [f"its type {name!r} is not documented"]
    if name == "application/json" or name.endswith("+json"):
        if not media["schema"]:
            return []
        try:
            return of_media(document, media, json.loads(text))
        except ValueError as error:
            return [f"not JSON: {error}"]
    return of_media(document, media, text)


def of_headers(document, documented, headers):
    documented = {name.lower(): document.follow(header)
                  for name, header in documented.items()}
    problems = []
    for name, value in headers:
        header = documented.get(name.lower())
        if header is None:
            if name.lower() not in PLAIN:
                problems.append(f"header {name}: {value} is not documented")
            continue
        if document.follow(header["schema"]).get("type") == "integer":
            value = int(value)
        problems += [f"header {name} {p}" for p in document.wrong(header["schema"], value)]
    return problems


def of_query(document, item, operation, path):
    known = [document.follow(p)
             for p in item.get("parameters", []) + operation.get("parameters", [])]
    names = {p["name"] for p in known if p["in"] == "query"}
    used = re.findall(r"[?&]([^=&]*)", path)
    return [f"query parameter {name} is not documented" for name in used
            if name not in names]


def refused(document, e):
    """A method the path has not: 405, a problem, and Allow names those it has."""
    problems = document.wrong({"$ref": "#/components/schemas/Problem"},
                              json.loads(e["answer"])) if e["answer"] else []
    headers = {name.lower(): value for name, value in e["headers"]}
    allowed = {m.strip().lower() for m in headers.get("allow", "").split(",")} - {"head"}
    if e["status"] != 405:
        problems.append("should be 405")
    if allowed != {m for _, item in document.fitting(e["path"])
                   for m in METHODS if m in item}:
        problems.append(f"Allow names {sorted(allowed)}")
    return problems


def exchange(document, e):
    template, item, operation = document.find(e["method"], e["path"])
    if template is None:
        return ["no such path is documented"]
    if operation is None:
        return refused(document, e)
    response = operation["responses"].get(str(e["status"]))
    if response is None:
        return ["this status is not documented"]
    response = document.follow(response)
    headers = {name.lower(): value for name, value in e["headers"]}
    problems = of_headers(document, response.get("headers", {}), e["headers"])
    if e["answer"]:
        problems += of_body(document, response.get("content", {}),
                            headers.get("content-type", ""), e["answer"])
    elif response.get("content") and e["method"] != "HEAD" and \
            headers.get("content-length") != "0":
        problems.append("there is no body")
    if e["status"] < 300:
        problems += of_query(document, item, operation, e["path"])
        if e["body"]:
            problems += of_body(document, operation["requestBody"]["content"],
                                e["type"], e["body"])
    return problems


def unseen(document, exchanges):
    """"GET /jobs 200" of each documented answer that none of them is."""
    seen = set()
    for e in exchanges:
        template, _, operation = document.find(e["method"], e["path"])
        if operation:
            method = "GET" if e["method"] == "HEAD" else e["method"]
            seen.add(f"{method} {template} {e['status']}")
    return [answer for method, path, _, operation in document.operations()
            for status in operation["responses"]
            if (answer := f"{method} {path} {status}") not in seen]


# --- webhooks ----------------------------------------------------------------------


def delivery(document, d):
    operation = document.follow(document.tree["webhooks"][d["type"]])["post"]
    parameters = {p["name"]: p for p in map(document.follow, operation["parameters"])}
    headers = {name.lower(): value for name, value in d["headers"]}
    problems = [f"header {name} is missing" for name, p in parameters.items()
                if p.get("required") and name not in headers]
    for name, value in headers.items():
        if name in parameters:
            problems += [f"header {name} {p}"
                         for p in document.wrong(parameters[name]["schema"], value)]
        elif name not in PLAIN | {"host", "user-agent", "accept"}:
            problems.append(f"header {name} is not documented")
    content = operation["requestBody"]["content"]
    return problems + of_body(document, content, headers["content-type"], d["body"])


def load(path):
    with open(path) as f:
        return json.load(f)


def main():
    document, what = Document(sys.argv[1]), sys.argv[2]
    if what == "routes":
        print(json.dumps([f"{m} {path}" for m, path, *_ in document.operations()]))
        return 0
    if what == "codes":
        problem = document.tree["components"]["schemas"]["Problem"]
        print(json.dumps(problem["properties"]["code"]["enum"]))
        return 0
    if what == "unseen":
        print(json.dumps(unseen(document, load(sys.argv[3]))))
        return 0
    if what == "sound":
        problems = sound(document)
    elif what == "deliveries":
        problems = [f"{d['type']}: {p}" for d in load(sys.argv[3])
                    for p in delivery(document, d)]
    else:
        problems = [f"{e['method']} {e['path']} {e['status']}: {p}"
                    for e in load(sys.argv[3]) for p in exchange(document, e)]
    print("\n".join(problems))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
