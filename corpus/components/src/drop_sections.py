"""drop_sections.py PREFIX IN OUT: a module or component without the custom sections of its core modules whose names begin with PREFIX."""
import sys


def leb(data, at):
    value = shift = 0
    while True:
        value |= (data[at] & 127) << shift
        shift += 7
        at += 1
        if data[at - 1] < 128:
            return value, at


def unleb(value):
    out = b''
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def custom_name(section):
    length, at = leb(section, 0)
    return section[at:at + length]


def clean(data):
    component = data[6] == 1
    out, at = [data[:8]], 8
    while at < len(data):
        kind = data[at]
        size, body = leb(data, at + 1)
        end = body + size
        section = data[body:end]
        if component and kind in (1, 4):  # a core module, a component
            section = clean(section)
        if component or kind != 0 or not custom_name(section).startswith(prefix):
            out.append(bytes([kind]) + unleb(len(section)) + section)
        at = end
    return b''.join(out)


prefix = sys.argv[1].encode()
with open(sys.argv[2], 'rb') as file:
    cleaned = clean(file.read())
with open(sys.argv[3], 'wb') as file:
    file.write(cleaned)
