"""Decodes Perfetto traces with the protobuf classes of the Python package perfetto, and looks for unknown fields.

Run it with the Python of the readers: DIR/bin/python3 perfetto_decode.py FILE...
The report has the form of report.mjs: {"files": [{"file", "warnings", "errors", ...}]}; the exit code is 1 for faults.
"""

import collections
import gzip
import json
import sys

from google.protobuf.message import DecodeError
from google.protobuf.unknown_fields import UnknownFieldSet
from perfetto.protos.perfetto.trace import perfetto_trace_pb2 as protos

INTERNED = {"name_iid": "event_names", "category_iids": "event_categories", "source_location_iid": "source_locations"}


def unknown_fields(message, path):
    """The paths of fields that the schema does not have, at any depth."""
    for field in UnknownFieldSet(message):
        yield f"{path}.{field.field_number}"
    for field, value in message.ListFields():
        if field.message_type is None or field.message_type.GetOptions().map_entry:
            continue
        inner = value if isinstance(value, collections.abc.Sequence) else [value]
        for each in inner:
            yield from unknown_fields(each, f"{path}.{field.name}")


def state(sequences, packet, warnings):
    """The interned data of a packet's sequence; a packet that says that its state is cleared starts it anew."""
    key = packet.trusted_packet_sequence_id
    if packet.sequence_flags & protos.TracePacket.SEQ_NEEDS_INCREMENTAL_STATE and key not in sequences:
        warnings.append(f"a packet of sequence {key} needs state that no packet before it starts")
    if packet.sequence_flags & protos.TracePacket.SEQ_INCREMENTAL_STATE_CLEARED:
        sequences[key] = collections.defaultdict(dict)
    return sequences.get(key, collections.defaultdict(dict))


def resolve(interned, event, field, warnings):
    """The interned entries that a field of an event refers to."""
    value = getattr(event, field)
    found = []
    for iid in value if isinstance(value, collections.abc.Sequence) else [value]:
        entry = interned[INTERNED[field]].get(iid)
        if entry is None:
            warnings.append(f"{field} {iid} is not interned")
        else:
            found.append(entry)
    return found


def describe(trace, entry):
    warnings = entry["warnings"]
    kinds, types, names, categories = (collections.Counter() for _ in range(4))
    locations, tracks, sequences, open_slices, arguments = {}, {}, {}, collections.Counter(), collections.Counter()
    for packet in trace.packet:
        kinds[packet.WhichOneof("data") or "interned_data"] += 1
        interned = state(sequences, packet, warnings)
        for field, values in packet.interned_data.ListFields():
            for value in values:
                interned[field.name][value.iid] = value
        if packet.HasField("track_descriptor"):
            track = packet.track_descriptor
            thread = f"{track.thread.pid}/{track.thread.tid} {track.thread.thread_name}" if track.HasField("thread") else None
            process = f"{track.process.pid} {track.process.process_name}" if track.HasField("process") else None
            tracks[track.uuid] = {"name": track.name, "parent": track.parent_uuid, "thread": thread, "process": process}
        if not packet.HasField("track_event"):
            continue
        event = packet.track_event
        types[protos.TrackEvent.Type.Name(event.type)] += 1
        uuid = event.track_uuid or packet.trace_packet_defaults.track_event_defaults.track_uuid
        if event.HasField("track_uuid") and uuid not in tracks:
            warnings.append(f"an event is on track {uuid}, which has no descriptor before it")
        open_slices[uuid] += {event.TYPE_SLICE_BEGIN: 1, event.TYPE_SLICE_END: -1}.get(event.type, 0)
        if open_slices[uuid] < 0:
            warnings.append(f"track {uuid} ends a slice that it does not begin")
            open_slices[uuid] = 0
        name = [event.name] if event.HasField("name") else []
        if event.HasField("name_iid"):
            name = [found.name for found in resolve(interned, event, "name_iid", warnings)]
        if event.type in (event.TYPE_SLICE_BEGIN, event.TYPE_INSTANT) and not name:
            warnings.append("an event that begins has no name")
        names.update(name)
        categories.update(event.categories)
        categories.update(found.name for found in resolve(interned, event, "category_iids", warnings))
        if event.HasField("source_location_iid"):
            for found in resolve(interned, event, "source_location_iid", warnings):
                for each in name:
                    locations[each] = f"{found.file_name}:{found.line_number}"
        for annotation in event.debug_annotations:
            key = annotation.name
            if annotation.HasField("name_iid"):
                known = interned["debug_annotation_names"].get(annotation.name_iid)
                if known is None:
                    warnings.append(f"debug annotation name_iid {annotation.name_iid} is not interned")
                key = known.name if known else ""
            arguments[key] += 1
    for uuid, count in open_slices.items():
        if count > 0:
            warnings.append(f"track {uuid} has {count} slices without an end")
    entry.update(packets=len(trace.packet), kinds=kinds, types=types, tracks=list(tracks.values()), sequences=len(sequences))
    entry.update(names=dict(names.most_common(200)), categories=categories, locations=locations, arguments=arguments)


def read(path):
    entry = {"file": path, "warnings": [], "errors": []}
    try:
        with open(path, "rb") as file:
            data = file.read()
        if data[:2] == b"\x1f\x8b":
            data = gzip.decompress(data)
        trace = protos.Trace()
        trace.ParseFromString(data)
    except (DecodeError, OSError, EOFError) as error:
        entry["errors"].append(f"{type(error).__name__}: {error}")
        return entry
    unknown = collections.Counter(unknown_fields(trace, "Trace"))
    entry["unknownFields"] = unknown
    entry["errors"] += [f"unknown field {path} ({count} times)" for path, count in unknown.items()]
    if not trace.packet:
        entry["errors"].append("there is no packet")
    describe(trace, entry)
    return entry


def main(paths):
    if not paths:
        print("usage: perfetto_decode.py FILE...", file=sys.stderr)
        return 2
    entries = [read(path) for path in paths]
    for entry in entries:
        for kind in ("warnings", "errors"):
            more = len(entry[kind]) - 100
            if more > 0:
                entry[kind][100:] = [f"… and {more} more"]
            for words in entry[kind]:
                print(f"{entry['file']}: {kind[:-1]}: {words}", file=sys.stderr)
    print(json.dumps({"files": entries}, indent=1, ensure_ascii=False))
    return 1 if any(entry["warnings"] or entry["errors"] for entry in entries) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
