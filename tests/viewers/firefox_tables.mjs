// Firefox Profiler does not check the indices in a processed profile. This does, for the tables of one file:
// https://github.com/firefox-devtools/profiler/blob/main/docs-developer/processed-profile-format.md

/** Columns that refer to another table; null and -1 mean "none" where the format has them. */
const REFERENCES = [
  ["samples", "stack", "stackTable"],
  ["stackTable", "frame", "frameTable"],
  ["frameTable", "func", "funcTable"],
  ["frameTable", "nativeSymbol", "nativeSymbols"],
  ["funcTable", "name", "stringArray"],
  ["funcTable", "fileName", "stringArray"],
  ["funcTable", "source", "sources"],
  ["funcTable", "resource", "resourceTable"],
  ["resourceTable", "name", "stringArray"],
  ["nativeSymbols", "name", "stringArray"],
  ["sources", "filename", "stringArray"],
  ["markers", "name", "stringArray"],
];
const TABLES = ["samples", "stackTable", "frameTable", "funcTable", "nativeSymbols", "resourceTable", "sources", "markers"];
const OPTIONAL = new Set(["samples.stack", "frameTable.nativeSymbol", "funcTable.fileName", "funcTable.source", "funcTable.resource"]);

const size = (table) => (Array.isArray(table) ? table.length : table.length ?? 0);

/** What is wrong with one thread, whose tables are its own or the profile's shared ones. */
function* threadFaults(profile, thread, where) {
  const table = (name) => thread[name] ?? profile.shared?.[name] ?? profile[name];
  for (const name of TABLES) {
    for (const [column, values] of Object.entries(table(name) ?? {})) {
      if (Array.isArray(values) && values.length !== size(table(name))) {
        yield `${where}.${name}.${column} has ${values.length} values, the table's length is ${size(table(name))}`;
      }
    }
  }
  for (const [from, column, to] of REFERENCES) {
    const values = table(from)?.[column];
    if (!Array.isArray(values)) continue;
    const none = (index) => OPTIONAL.has(`${from}.${column}`) && (index === null || index === -1);
    const bad = values.findIndex((index) => !none(index) && !(Number.isInteger(index) && index >= 0 && index < size(table(to) ?? [])));
    if (bad >= 0) yield `${where}.${from}.${column}[${bad}] is ${values[bad]}, ${to} has ${size(table(to) ?? [])} entries`;
  }
  const prefix = table("stackTable")?.prefix ?? [];
  const late = prefix.findIndex((index, at) => index !== null && !(index >= 0 && index < at));
  if (late >= 0) yield `${where}.stackTable.prefix[${late}] is ${prefix[late]}, which is not an earlier stack`;
  for (const name of ["frameTable", "markers"]) {
    const category = table(name)?.category ?? [];
    const bad = category.findIndex((index) => index !== null && !profile.meta.categories?.[index]);
    if (bad >= 0) yield `${where}.${name}.category[${bad}] is ${category[bad]}, which is no category`;
  }
  yield* markerFaults(profile, table("markers")?.data ?? [], size(table("stringArray") ?? []), where);
}

/** Fields of markers that their schema says are indices of strings. */
function* markerFaults(profile, data, strings, where) {
  const fields = new Map();
  for (const { name, fields: all, data: older } of profile.meta.markerSchema ?? []) {
    const unique = (all ?? older ?? []).filter(({ format }) => ["unique-string", "flow-id", "terminating-flow-id"].includes(format));
    fields.set(name, unique.map(({ key }) => key));
  }
  for (const [at, each] of data.entries()) {
    if (each && !fields.has(each.type)) {
      yield `${where}.markers.data[${at}].type is ${JSON.stringify(each.type)}, which has no schema`;
      return;
    }
    for (const key of each ? fields.get(each.type) : []) {
      if (each[key] !== undefined && !(each[key] >= 0 && each[key] < strings)) {
        yield `${where}.markers.data[${at}].${key} is ${each[key]}, there are ${strings} strings`;
        return;
      }
    }
  }
}

/** What is wrong with the tables of a processed profile; nothing is said about files of other formats. */
export function wrongIndices(text) {
  let profile;
  try {
    profile = JSON.parse(text);
  } catch {
    return []; // The reader says what it thinks of it.
  }
  if (!profile.meta?.preprocessedProfileVersion || !Array.isArray(profile.threads)) return [];
  return profile.threads.flatMap((thread, at) => [...threadFaults(profile, thread, `threads[${at}]`)]);
}
