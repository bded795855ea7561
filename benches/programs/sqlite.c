// SQLite in memory: a table, rows, an index, joins and aggregates.
// usage: sqlite [TIMES]     does all of it TIMES times as often as by default
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "checksum.h"
#include "sqlite3.h"

// A database in memory asks its system for the time and for randomness only.
static int no_file(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *out) { return SQLITE_CANTOPEN; }
static int no_delete(sqlite3_vfs *vfs, const char *name, int sync) { return SQLITE_IOERR; }
static int no_access(sqlite3_vfs *vfs, const char *name, int flags, int *out) { return *out = 0; }
static int same_path(sqlite3_vfs *vfs, const char *name, int room, char *out) {
  return snprintf(out, room, "%s", name) < room ? SQLITE_OK : SQLITE_CANTOPEN;
}
static int no_randomness(sqlite3_vfs *vfs, int length, char *out) { memset(out, 0, length); return length; }
static int no_sleep(sqlite3_vfs *vfs, int microseconds) { return microseconds; }
static int no_time(sqlite3_vfs *vfs, double *days) { *days = 2440587.5; return SQLITE_OK; }
static int no_error(sqlite3_vfs *vfs, int room, char *out) { return 0; }

int sqlite3_os_init(void) {
  static sqlite3_vfs vfs = {
    .iVersion = 1, .szOsFile = sizeof(sqlite3_file), .mxPathname = 64, .zName = "none",
    .xOpen = no_file, .xDelete = no_delete, .xAccess = no_access, .xFullPathname = same_path,
    .xRandomness = no_randomness, .xSleep = no_sleep, .xCurrentTime = no_time, .xGetLastError = no_error,
  };
  return sqlite3_vfs_register(&vfs, 1);
}
int sqlite3_os_end(void) { return SQLITE_OK; }

static sqlite3 *db;
static char seen[4096];
static size_t seen_length;

static int row(void *unused, int columns, char **values, char **names) {
  for (int i = 0; i < columns && seen_length < sizeof seen; i++)
    seen_length += snprintf(seen + seen_length, sizeof seen - seen_length, "%s|", values[i] ? values[i] : "");
  if (seen_length > sizeof seen) seen_length = sizeof seen;
  return 0;
}

static void run(const char *sql) {
  char *message = NULL;
  if (sqlite3_exec(db, sql, row, NULL, &message) != SQLITE_OK) {
    printf("sqlite: %s: %s\n", sql, message ? message : "?");
    exit(1);
  }
}

static sqlite3_stmt *prepare(const char *sql) {
  sqlite3_stmt *statement;
  if (sqlite3_prepare_v2(db, sql, -1, &statement, NULL) != SQLITE_OK) exit(1);
  return statement;
}

static int once(void) {
  seen_length = 0;
  if (sqlite3_open(":memory:", &db) != SQLITE_OK) return 1;
  run("create table city (id integer primary key, name text not null);"
      "create table person (id integer primary key, name text, city integer references city, age integer);"
      "begin");
  sqlite3_stmt *city = prepare("insert into city values (?, ?)");
  sqlite3_stmt *person = prepare("insert into person (name, city, age) values (?, ?, ?)");
  char name[32];
  for (int i = 0; i < 200; i++) {
    snprintf(name, sizeof name, "city %d", i * 7919 % 200);
    sqlite3_bind_int(city, 1, i);
    sqlite3_bind_text(city, 2, name, -1, SQLITE_TRANSIENT);
    if (sqlite3_step(city) != SQLITE_DONE) return 1;
    sqlite3_reset(city);
  }
  uint32_t random = 7;
  for (int i = 0; i < 20000; i++) {
    random = random * 1664525u + 1013904223u;
    snprintf(name, sizeof name, "person %u", random >> 12);
    sqlite3_bind_text(person, 1, name, -1, SQLITE_TRANSIENT);
    sqlite3_bind_int(person, 2, (random >> 16) % 200);
    sqlite3_bind_int(person, 3, (random >> 24) % 100);
    if (sqlite3_step(person) != SQLITE_DONE) return 1;
    sqlite3_reset(person);
  }
  sqlite3_finalize(city);
  sqlite3_finalize(person);
  run("commit;"
      "create index person_by_city on person (city, age);"
      "select count(*), sum(age), min(name), max(name) from person;"
      "select c.name, count(*), avg(p.age) from person p join city c on c.id = p.city"
      "  group by c.id order by 2 desc, 1 limit 5;"
      "select count(*) from person a join person b on a.city = b.city and a.age = b.age and a.id < b.id;"
      "select c.name, max(length(p.name)) from city c left join person p on p.city = c.id and p.age > 90"
      "  where c.name like '%1%' group by c.name order by 2, 1 limit 5;"
      "update person set age = age + 1 where name like '%7%';"
      "delete from person where age % 5 = 0;"
      "select sum(age), count(distinct name), group_concat(distinct age) from person where city between 10 and 60;"
      "pragma integrity_check");
  sqlite3_close(db);
  return 0;
}

int main(int argc, char **argv) {
  int times = argc > 1 ? atoi(argv[1]) : 1;
  for (int i = 0; i < 6 * times; i++)
    if (once()) return 1;
  printf("sqlite %s, %zu bytes of results, %016llx\n", sqlite3_libversion(), seen_length,
         (unsigned long long)checksum(seen, seen_length));
}
