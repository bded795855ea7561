"""Theorem: what a server gives back is the recording, span for span.

    compare.py SERVER WHERE LABEL EXPECTED...      each a file of `wasmtrace convert -f otlp-json`
    compare.py SERVER WHERE LABEL --budget N EXPECTED
    compare.py SERVER WHERE LABEL --signals EXPECTED

SERVER says how WHERE is read: `jaeger` and `zipkin` by the API at that address, `collector` from the file that it
wrote.
With --budget not all was sent: what is there must be the longest spans as they are, and sums of others. With --signals
logs and metrics were sent as such, not as events.
"""

import base64
import collections
import json
import sys
import time
import urllib.error
import urllib.request

PATIENCE = 60  # seconds until what was acknowledged must be there


# OTLP, in JSON


def identifier(text, digits):
    """In hex: it is hex already, or base64."""
    if not text or len(text) == digits:
        return (text or "").lower()
    return base64.b64decode(text).hex()


def plain(value):
    (kind, inner), = value.items()
    return int(inner) if kind == "intValue" else inner


def table(attributes):
    keys = [attribute["key"] for attribute in attributes]
    assert len(keys) == len(set(keys)), f"a key twice: {keys}"
    return {attribute["key"]: plain(attribute["value"]) for attribute in attributes}


def spans_of(requests, trace=None):
    """A list, since a span that is there twice is an error."""
    found = []
    for request in requests:
        for resource in request.get("resourceSpans", []):
            about = table(resource.get("resource", {}).get("attributes", []))
            for scope in resource["scopeSpans"]:
                for span in scope["spans"]:
                    if trace and identifier(span["traceId"], 32) != trace:
                        continue
                    status = span.get("status", {})
                    code = status.get("code", 0)
                    found.append({
                        "trace": identifier(span["traceId"], 32),
                        "id": identifier(span["spanId"], 16),
                        "parent": identifier(span.get("parentSpanId"), 16),
                        "state": span.get("traceState", ""),
                        "flags": span.get("flags", 0),
                        "name": span["name"],
                        "kind": {"SPAN_KIND_INTERNAL": 1}.get(span.get("kind"), span.get("kind")),
                        "start": int(span["startTimeUnixNano"]),
                        "end": int(span["endTimeUnixNano"]),
                        "attributes": table(span.get("attributes", [])),
                        "events": sorted(
                            (
                                int(event["timeUnixNano"]),
                                event["name"],
                                sorted(table(event.get("attributes", [])).items()),
                            )
                            for event in span.get("events", [])
                        ),
                        "status": ({"STATUS_CODE_ERROR": 2}.get(code, code), status.get("message", "")),
                        "resource": about,
                        "scope": (scope["scope"].get("name"), scope["scope"].get("version")),
                    })
    return found


def json_lines(path):
    with open(path, encoding="utf-8") as lines:
        return [json.loads(line) for line in lines if line.endswith("\n")]


def get(url):
    """Every JSON value of the answer, none if there is no such thing."""
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:
            text = answer.read().decode()
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return []
        raise
    values, decoder = [], json.JSONDecoder()
    while text := text.strip():
        value, end = decoder.raw_decode(text)
        values.append(value)
        text = text[end:]
    return values


# The servers: what they give back, and what of a span they can keep


def from_collector(where, trace):
    return spans_of(json_lines(where), trace)


def from_jaeger(where, trace):
    return spans_of([answer["result"] for answer in get(f"{where}/api/v3/traces/{trace}")], trace)


WARNINGS = "@jaeger@warnings"


def for_jaeger(span):
    """What it is to make of a span: its own model has no flags; one of no duration it makes one of 1 ns, and warns of
    that; and of the span of the host, which is not sent here, it says that it is missing."""
    span = {key: value for key, value in span.items() if key != "flags"}
    warnings = []
    if span["start"] == span["end"]:
        span["end"] += 1
        warnings.append("Negative duration detected")
    if span["is the run"] and span["parent"]:
        warnings.append("parent span ID=")
    if warnings:
        span["attributes"] = {**span["attributes"], WARNINGS: warnings}
    return span


def as_told_by_jaeger(span):
    span = {key: value for key, value in span.items() if key != "flags"}
    if WARNINGS in span["attributes"]:
        told = [value["stringValue"] for value in span["attributes"][WARNINGS]["values"]]
        known = ["Negative duration detected", "parent span ID="]
        told = sorted(next((begin for begin in known if text.startswith(begin)), text) for text in told)
        if known[0] in told:
            # Longer by 1 ns than it was, the span may end after the one that it is in.
            told = [text for text in told if not text.startswith("clock skew adjustment disabled")]
        span["attributes"] = {**span["attributes"], WARNINGS: told}
    return span


def from_zipkin(where, trace):
    return [span for answer in get(f"{where}/api/v2/trace/{trace}") for span in answer]


def for_zipkin(span):
    """Times in microseconds, everything a text, names in lower case, the resource on the run's own span."""
    def text(value):
        return value if isinstance(value, str) else json.dumps(value)

    micros = span["start"] // 1000
    tags = {**span["attributes"], **(span["resource"] if span["is the run"] else {})}
    if span["status"][0] == 2:
        tags["error"] = span["status"][1]
    whole = {
        "traceId": span["trace"],
        "id": span["id"],
        "name": span["name"].lower(),
        "timestamp": micros,
        "duration": max(1, span["end"] // 1000 - micros),
        "localEndpoint": {"serviceName": span["resource"]["service.name"].lower()},
    }
    if span["parent"]:
        whole["parentId"] = span["parent"]
    if tags:
        whole["tags"] = {key: text(value) for key, value in tags.items()}
    if span["events"]:
        whole["annotations"] = [
            {"timestamp": at // 1000, "value": " ".join([name] + [f"{key}={text(value)}" for key, value in attributes])}
            for at, name, attributes in span["events"]
        ]
    return whole


def in_order(span):
    """Attributes of an event have no order that is kept everywhere; neither have annotations of the same moment."""
    if "annotations" in span:
        values = [(note["timestamp"], sorted(note["value"].split())) for note in span["annotations"]]
        span = {**span, "annotations": sorted(values)}
    return span


SERVERS = {
    # How it is asked, what it is to have made of a span, and a span as it tells it.
    "collector": (from_collector, lambda span: span, lambda span: span),
    "jaeger": (from_jaeger, for_jaeger, as_told_by_jaeger),
    "zipkin": (from_zipkin, for_zipkin, lambda span: span),
}


class Difference(Exception):
    pass


def check(holds, what):
    if not holds:
        raise Difference(what)


def wait_for(number, read):
    """What a server has acknowledged it may show a little later."""
    end = time.monotonic() + PATIENCE
    while True:
        found = read()
        if len(found) >= number or time.monotonic() > end:
            return found
        time.sleep(0.5)


def recorded(path):
    spans = spans_of(json_lines(path))
    ids = {span["id"] for span in spans}
    runs = [span for span in spans if span["parent"] not in ids]
    check(len(ids) == len(spans) and len(runs) == 1, f"{path}: no tree of its own")
    for span in spans:
        span["is the run"] = span is runs[0]
    return spans, runs[0]


def values(thing):
    """How many numbers and texts there are in it."""
    if isinstance(thing, dict):
        return sum(values(inner) for inner in thing.values())
    if isinstance(thing, (list, tuple)):
        return sum(values(inner) for inner in thing)
    return 1


def same(expected, found):
    """Both by id, and everything of each."""
    ids = collections.Counter(span["id"] for span in found)
    twice = [name for name, count in ids.items() if count > 1]
    check(not twice, f"{len(twice)} spans are there twice: {twice[:3]}")
    wanted = {span["id"]: in_order(span) for span in expected}
    found = {span["id"]: in_order(span) for span in found}
    missing, more = wanted.keys() - found.keys(), found.keys() - wanted.keys()
    check(not missing, f"{len(missing)} of {len(wanted)} spans are missing: {sorted(missing)[:3]}")
    check(not more, f"{len(more)} spans were never sent: {sorted(more)[:3]}")
    for name, span in wanted.items():
        if span != found[name]:
            keys = [key for key in span.keys() | found[name].keys() if span.get(key) != found[name].get(key)]
            told = "; ".join(f"{key}: {span.get(key)!r} became {found[name].get(key)!r}" for key in keys)
            raise Difference(f"span {name} ({span['name']}): {told}")


def bare(span, model):
    span = model(span)
    return {key: value for key, value in span.items() if key != "is the run"}


def whole(server, where, paths):
    read, model, told_by = SERVERS[server]
    spans = numbers = warnings = 0
    for path in paths:
        sent, run = recorded(path)
        found = wait_for(len(sent), lambda: read(where, run["trace"]))
        expected = [bare(span, model) for span in sent]
        found = [told_by(span) for span in found]
        try:
            same(expected, found)
        except Difference as difference:
            raise Difference(f"{path}: {difference}") from None
        if server == "jaeger":
            told = get(f"{where}/api/traces/{run['trace']}")[0]["data"][0]["spans"]
            check(len(told) == len(sent), f"{path}: the page shows {len(told)} spans of {len(sent)}")
            warned = [span["warnings"] for span in told if span.get("warnings")]
            known = sum(WARNINGS in span["attributes"] for span in expected)
            check(len(warned) == known, f"{path}: {len(warned)} spans are warned of, not {known}: {warned[:1]}")
            warnings += sum(span["start"] == span["end"] for span in sent)
        spans += len(expected)
        numbers += sum(values(span) for span in expected)
    warned = f"; it warns of the {warnings} of no duration" if warnings else ""
    return f"{len(paths)} recordings, {spans} spans, {numbers} values: the same{warned}"


def budget(server, where, most, path):
    """Every span is sent as it is, or in a sum, or counted as left out; the longest are sent as they are."""
    read, model, told_by = SERVERS[server]
    check(server != "zipkin", "of Zipkin's texts a budget is not read back")
    sent, run = recorded(path)
    found = wait_for(most + 1, lambda: read(where, run["trace"]))
    check(len(found) <= most + 1, f"{len(found)} spans of at most {most} and the run's")
    ids = {span["id"] for span in found}
    roots = [span for span in found if span["parent"] not in ids]
    check([span["id"] for span in roots] == [run["id"]], f"{len(roots)} spans are in no other")
    own = roots[0]["attributes"]
    others = [span for span in found if span is not roots[0]]
    sums = [span for span in others if "wasm.call.count" in span["attributes"]]
    alone = [span for span in others if "wasm.call.count" not in span["attributes"]]
    known = {span["id"]: span for span in sent}
    kept = {span["id"] for span in alone}
    # What was in one of several calls that are one span now is in that.
    sums_by_id = {span["id"]: span for span in sums}
    for span in alone:
        check(span["id"] in known, f"span {span['id']} was never recorded")
        was = known[span["id"]]["parent"]
        if was not in kept and was != run["id"]:
            into = sums_by_id.get(span["parent"])
            check(into and into["name"] == known[was]["name"], f"{span['id']} was in {was}, is in {span['parent']}")
            known[span["id"]]["parent"] = span["parent"]
    same([bare(known[span["id"]], model) for span in alone], [told_by(span) for span in alone])
    left = [span for span in sent if span["id"] not in kept and span is not run]
    # Three quarters are for the longest.
    longest = sorted((span["end"] - span["start"] for span in sent if span is not run), reverse=True)
    bound = longest[most - most // 4 - 1]
    short = [span for span in left if span["end"] - span["start"] > bound]
    check(not short, f"{len(short)} spans of more than {bound} ns are not sent")
    merged, out = own.get("wasm.spans.merged", 0), own.get("wasm.spans.left_out", 0)
    calls = sum(span["attributes"]["wasm.call.count"] for span in sums)
    check(calls == merged, f"the sums are of {calls} spans, the run says {merged}")
    check(len(alone) + merged + out + 1 == len(sent), f"{len(alone)} + {merged} + {out} + 1 are not {len(sent)}")
    total = sum(span["end"] - span["start"] for span in left)
    summed = sum(span["attributes"]["wasm.call.total_ns"] for span in sums)
    check(summed <= total, f"the sums are of {summed} ns, the spans of {total} ns")
    if not out:
        check(summed == total, f"nothing is left out, but {total} ns became {summed} ns")
    whole = f"of {len(sent)} spans the run's and {len(alone)} as they are"
    return f"budget {most}: {whole}, {merged} in {len(sums)} sums, {out} left out"


def signals(server, where, path):
    """Logs and metrics that a file has as events are records and points, tied to the span that they were events of."""
    check(server == "collector", "only the collector takes logs and metrics")
    sent, run = recorded(path)
    logs, counted = [], collections.defaultdict(list)
    for span in sent:
        for at, name, attributes in span["events"]:
            attributes = dict(attributes)
            if name == "log":
                level, text = attributes["log.severity"].lower(), attributes["log.message"]
                logs.append((span["trace"], span["id"], at, level, text))
            elif name == "metric":
                key, value, kind = attributes["metric.statsd"].replace(":", "|").split("|")[:3]
                counted[key].append((at, float(value), kind))
        span["events"] = [event for event in span["events"] if event[1] not in ("log", "metric")]
    check(logs and counted, "the program says nothing")

    def records():
        found = []
        for request in json_lines(where):
            for resource in request.get("resourceLogs", []):
                for scope in resource["scopeLogs"]:
                    for record in scope["logRecords"]:
                        trace = identifier(record["traceId"], 32)
                        if trace == run["trace"]:
                            text = plain(record["body"])
                            level = record["severityText"].lower()
                            span = identifier(record["spanId"], 16)
                            found.append((trace, span, int(record["timeUnixNano"]), level, text))
        return found

    def points():
        found = {}
        for request in json_lines(where):
            for resource in request.get("resourceMetrics", []):
                if table(resource["resource"]["attributes"]).get("run") != run["resource"]["run"]:
                    continue
                for scope in resource["scopeMetrics"]:
                    for metric in scope["metrics"]:
                        for kind in ("sum", "gauge", "histogram"):
                            for point in metric.get(kind, {}).get("dataPoints", []):
                                found[metric["name"]] = (kind, point)
        return found

    found = wait_for(len(sent), lambda: from_collector(where, run["trace"]))
    same([bare(span, lambda span: span) for span in sent], found)
    found = wait_for(len(logs), records)
    check(sorted(found) == sorted(logs), f"logs: {sorted(logs)} became {sorted(found)}")
    found = wait_for(len(counted), points)
    for name, lines in counted.items():
        check(name in found, f"the metric {name} is missing: there are {sorted(found)}")
        kind, point = found[name]
        numbers = [value for _, value, _ in lines]
        value = float(point.get("asDouble", point.get("asInt", 0)))
        letter = lines[0][2]
        if letter == "c":
            check(kind == "sum" and value == sum(numbers), f"{name}: {numbers} became {kind} {point}")
        elif letter == "g":
            check(kind == "gauge" and value == max(lines)[1], f"{name}: {numbers} became {kind} {point}")
        else:
            whole = (kind, int(point.get("count", 0)), point.get("sum"))
            check(whole == ("histogram", len(numbers), sum(numbers)), f"{name}: {numbers} became {kind} {point}")
    return f"logs and metrics: {len(sent)} spans, {len(logs)} records, {len(counted)} metrics: the same"


def main():
    server, where, label, *rest = sys.argv[1:]
    try:
        if rest[0] == "--budget":
            said = budget(server, where, int(rest[1]), rest[2])
        elif rest[0] == "--signals":
            said = signals(server, where, rest[1])
        else:
            said = whole(server, where, rest)
    except Difference as difference:
        print(f"{server:9} {label:13} DIFFERENT: {difference}")
        sys.exit(1)
    print(f"{server:9} {label:13} {said}", flush=True)


main()
