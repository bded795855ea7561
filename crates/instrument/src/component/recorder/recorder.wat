;; The recorder within a component that records itself: writes events to standard error, as lines of text.
;; The format of the lines is described in docs/recording-format.md. `recorder.wasm` is this file in binary form; a test
;; compares both (`BLESS=1` writes it).
(component
  (import "error" (instance $error (export "error" (type (sub resource)))))
  (alias export $error "error" (type $io-error))
  (import "streams" (instance $streams
    (export "output-stream" (type $output-stream (sub resource)))
    (alias outer 1 $io-error (type $e))
    (export "error" (type $error (eq $e)))
    (type $own-error (own $error))
    (type $variant (variant (case "last-operation-failed" $own-error) (case "closed")))
    (export "stream-error" (type $stream-error (eq $variant)))
    (type $self (borrow $output-stream))
    (type $bytes (list u8))
    (type $result (result (error $stream-error)))
    (export "[method]output-stream.blocking-write-and-flush"
      (func (param "self" $self) (param "contents" $bytes) (result $result)))))
  (alias export $streams "output-stream" (type $output-stream))
  (import "stderr" (instance $stderr
    (alias outer 1 $output-stream (type $o))
    (export "output-stream" (type $output-stream (eq $o)))
    (type $own (own $output-stream))
    (export "get-stderr" (func (result $own)))))
  (import "monotonic-clock" (instance $monotonic-clock (export "now" (func (result u64)))))
  (import "wall-clock" (instance $wall-clock
    (type $record (record (field "seconds" u64) (field "nanoseconds" u32)))
    (export "datetime" (type $datetime (eq $record)))
    (export "now" (func (result $datetime)))))

  ;; The memory:
  ;;   16      the build of the component: the compiler replaces these 16 characters
  ;;   64      the digits of Base64
  ;;   128     the digits of hexadecimal numbers, and the beginning of each line
  ;;   256     results of host functions
  ;;   4096    the line under construction: prefix, at most 4000 digits, checksum
  ;;   12288   bytes that are not yet in a line, at most 3000
  ;;   65536   the events that were handed over
  (core module $memory
    (memory (export "memory") 34)
    (data (i32.const 16) "build of 16 char")
    (data (i32.const 64) "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
    (data (i32.const 128) "0123456789abcdef")
    (data (i32.const 144) "wasmtrace:1:")
    (func (export "realloc") (param $old i32) (param $old-size i32) (param $align i32) (param $size i32) (result i32)
      (if (i32.gt_u (local.get $size) (i32.const 0x210000)) (then unreachable))
      (i32.const 65536)))
  (core instance $m (instantiate $memory))
  (alias core export $m "memory" (core memory $mem))

  (alias export $stderr "get-stderr" (func $get-stderr))
  (alias export $streams "[method]output-stream.blocking-write-and-flush" (func $write))
  (alias export $monotonic-clock "now" (func $now))
  (alias export $wall-clock "now" (func $wall-now))
  (core func $get-stderr' (canon lower (func $get-stderr)))
  (core func $write' (canon lower (func $write) (memory $mem)))
  (core func $now' (canon lower (func $now)))
  (core func $wall-now' (canon lower (func $wall-now) (memory $mem)))
  (core func $drop-error (canon resource.drop $io-error))

  (core module $recorder
    (import "host" "get-stderr" (func $get-stderr (result i32)))
    (import "host" "write" (func $write (param i32 i32 i32 i32)))
    (import "host" "now" (func $now (result i64)))
    (import "host" "wall-now" (func $wall-now (param i32)))
    (import "host" "drop-error" (func $drop-error (param i32)))
    (import "memory" "memory" (memory 34))
    ;; 0: nothing was written yet; 1: lines are written; 2: standard error is closed
    (global $state (mut i32) (i32.const 0))
    (global $stream (mut i32) (i32.const 0))
    ;; a number for this instance, and the number of the next line
    (global $instance (mut i64) (i64.const 0))
    (global $line (mut i32) (i32.const 0))
    ;; the number of bytes at 12288
    (global $pending (mut i32) (i32.const 0))
    ;; open calls, according to the events
    (global $depth (mut i32) (i32.const 0))
    ;; the time of the last record, and the time when the guest continued after it
    (global $until (mut i64) (i64.const 0))
    (global $continued (mut i64) (i64.const 0))
    ;; the end of a short call of the host, or of a short pause, that has no record yet; or 0
    (global $short (mut i64) (i64.const 0))
    (global $short-cause (mut i32) (i32.const 0))
    ;; the times when the recorder began, and when it last wrote a line
    (global $began (mut i64) (i64.const 0))
    (global $written (mut i64) (i64.const 0))

    (func $hex (param $at i32) (param $number i64) (param $digits i32)
      (loop $next
        (local.set $digits (i32.sub (local.get $digits) (i32.const 1)))
        (i32.store8 (i32.add (local.get $at) (local.get $digits))
          (i32.load8_u offset=128 (i32.and (i32.wrap_i64 (local.get $number)) (i32.const 15))))
        (local.set $number (i64.shr_u (local.get $number) (i64.const 4)))
        (br_if $next (local.get $digits))))

    ;; Writes the pending bytes as a line: wasmtrace:1:INSTANCE:LINE:DATA:CHECKSUM
    (func $write-line
      (local $from i32) (local $end i32) (local $to i32) (local $three i32) (local $sum i32)
      (memory.copy (i32.const 4096) (i32.const 144) (i32.const 12))
      (call $hex (i32.const 4108) (global.get $instance) (i32.const 16))
      (i32.store8 (i32.const 4124) (i32.const 58))
      (call $hex (i32.const 4125) (i64.extend_i32_u (global.get $line)) (i32.const 8))
      (i32.store8 (i32.const 4133) (i32.const 58))
      (global.set $line (i32.add (global.get $line) (i32.const 1)))
      (local.set $from (i32.const 12288))
      (local.set $end (i32.add (local.get $from) (global.get $pending)))
      ;; The last digits may encode bytes behind the end.
      (i32.store (local.get $end) (i32.const 0))
      (local.set $to (i32.const 4134))
      (local.set $sum (i32.const 0x811c9dc5))
      (loop $next
        (local.set $three (i32.load (local.get $from)))
        ;; FNV-1a of groups of three bytes
        (local.set $sum (i32.mul (i32.const 0x01000193)
          (i32.xor (local.get $sum) (i32.and (local.get $three) (i32.const 0xffffff)))))
        (local.set $three (i32.or (i32.or
          (i32.shl (i32.and (local.get $three) (i32.const 0xff)) (i32.const 16))
          (i32.and (local.get $three) (i32.const 0xff00)))
          (i32.and (i32.shr_u (local.get $three) (i32.const 16)) (i32.const 0xff))))
        (i32.store8 (local.get $to) (i32.load8_u offset=64 (i32.shr_u (local.get $three) (i32.const 18))))
        (i32.store8 offset=1 (local.get $to)
          (i32.load8_u offset=64 (i32.and (i32.shr_u (local.get $three) (i32.const 12)) (i32.const 63))))
        (i32.store8 offset=2 (local.get $to)
          (i32.load8_u offset=64 (i32.and (i32.shr_u (local.get $three) (i32.const 6)) (i32.const 63))))
        (i32.store8 offset=3 (local.get $to) (i32.load8_u offset=64 (i32.and (local.get $three) (i32.const 63))))
        (local.set $to (i32.add (local.get $to) (i32.const 4)))
        (local.set $from (i32.add (local.get $from) (i32.const 3)))
        (br_if $next (i32.lt_u (local.get $from) (local.get $end))))
      ;; Padding as in RFC 4648, section 4.
      (if (i32.gt_u (local.get $from) (local.get $end)) (then
        (i32.store8 (i32.sub (local.get $to) (i32.const 1)) (i32.const 61))
        (if (i32.gt_u (local.get $from) (i32.add (local.get $end) (i32.const 1))) (then
          (i32.store8 (i32.sub (local.get $to) (i32.const 2)) (i32.const 61))))))
      (i32.store8 (local.get $to) (i32.const 58))
      (call $hex (i32.add (local.get $to) (i32.const 1)) (i64.extend_i32_u (local.get $sum)) (i32.const 8))
      (i32.store8 offset=9 (local.get $to) (i32.const 10))
      (global.set $pending (i32.const 0))
      (call $write (global.get $stream) (i32.const 4096)
        (i32.sub (local.get $to) (i32.const 4086)) (i32.const 256))
      (if (i32.load8_u (i32.const 256)) (then
        (global.set $state (i32.const 2))
        (if (i32.eqz (i32.load8_u (i32.const 260))) (then (call $drop-error (i32.load (i32.const 264))))))))

    ;; Appends bytes, and writes each line that is full.
    (func $append (param $from i32) (param $size i32)
      (local $part i32)
      (loop $next
        (local.set $part (i32.sub (i32.const 3000) (global.get $pending)))
        (if (i32.lt_u (local.get $size) (local.get $part)) (then (local.set $part (local.get $size))))
        (memory.copy (i32.add (i32.const 12288) (global.get $pending)) (local.get $from) (local.get $part))
        (global.set $pending (i32.add (global.get $pending) (local.get $part)))
        (local.set $from (i32.add (local.get $from) (local.get $part)))
        (local.set $size (i32.sub (local.get $size) (local.get $part)))
        (if (i32.eq (global.get $pending) (i32.const 3000)) (then (call $write-line)))
        (br_if $next (i32.and (i32.ne (local.get $size) (i32.const 0)) (i32.ne (global.get $state) (i32.const 2))))))

    ;; The first bytes: the build of the component, and the time.
    (func $begin
      (global.set $state (i32.const 1))
      (global.set $stream (call $get-stderr))
      (call $wall-now (i32.const 256))
      (global.set $continued (call $now))
      (i64.store (i32.const 280) (i64.add
        (i64.mul (i64.load (i32.const 256)) (i64.const 1000000000)) (i64.load32_u (i32.const 264))))
      (global.set $until (global.get $continued))
      (global.set $began (global.get $continued))
      (global.set $written (global.get $continued))
      (global.set $instance (i64.xor
        (i64.load (i32.const 280)) (i64.mul (global.get $continued) (i64.const 0x9e3779b97f4a7c15))))
      (call $append (i32.const 16) (i32.const 16))
      (call $append (i32.const 280) (i32.const 8)))

    ;; Appends a record up to its words.
    (func $record (param $words i32) (param $cause i32) (param $now i64)
      (i32.store (i32.const 288) (local.get $words))
      (i32.store (i32.const 292) (local.get $cause))
      (i64.store (i32.const 296) (i64.sub (global.get $continued) (global.get $until)))
      (i64.store (i32.const 304) (i64.sub (local.get $now) (global.get $continued)))
      (global.set $until (local.get $now))
      (call $append (i32.const 288) (i32.const 24)))

    (func (export "attach") (param i32 i32))

    ;; A record: the number of words, the cause, the times since the last record for which the recorder and the guest ran,
    ;; and the words.
    (func (export "flush") (param $events i32) (param $size i32) (param $cause i32)
      (local $now i64) (local $at i32) (local $end i32) (local $word i32) (local $line i32)
      (if (i32.eq (global.get $state) (i32.const 2)) (then return))
      (if (i32.eqz (global.get $state)) (then (call $begin)))
      (local.set $now (call $now))
      ;; A short call of the host needs no record, and a short pause between two calls of the guest neither, unless the
      ;; guest then runs for long: its time is not that of the events before.
      (if (i32.and (i32.and (i32.eqz (local.get $size))
            (i32.or (i32.eq (local.get $cause) (i32.const 2)) (i32.eq (local.get $cause) (i32.const 6))))
          (i64.lt_u (i64.sub (local.get $now) (global.get $continued)) (i64.const 5000)))
        (then
          (global.set $short (local.get $now))
          (global.set $short-cause (local.get $cause))
          (return)))
      (if (i64.ne (global.get $short) (i64.const 0)) (then
        (if (i64.ge_u (i64.sub (local.get $now) (global.get $short)) (i64.const 5000)) (then
          (call $record (i32.const 0) (global.get $short-cause) (global.get $short))
          (global.set $continued (global.get $short))))
        (global.set $short (i64.const 0))))
      (call $record (i32.shr_u (local.get $size) (i32.const 2)) (local.get $cause) (local.get $now))
      (local.set $at (local.get $events))
      (local.set $end (i32.add (local.get $events) (i32.and (local.get $size) (i32.const -4))))
      (block $done (loop $next
        (br_if $done (i32.ge_u (local.get $at) (local.get $end)))
        (local.set $word (i32.and (i32.load (local.get $at)) (i32.const 3)))
        (global.set $depth (i32.sub (i32.add (global.get $depth)
          (i32.eqz (local.get $word))) (i32.eq (local.get $word) (i32.const 1))))
        (local.set $at (i32.add (local.get $at) (i32.const 4)))
        (br $next)))
      (if (local.get $size) (then (call $append (local.get $events) (i32.sub (local.get $end) (local.get $events)))))
      ;; The outermost call has returned, or the guest ends: there may be no other chance to write. Otherwise a line is
      ;; written before it is full after 10 ms, or after half of the time so far: a trap does not lose more.
      (local.set $line (i32.or (i32.and (i32.ge_u (local.get $cause) (i32.const 4)) (i32.ne (local.get $cause) (i32.const 6)))
        (i32.and (i32.eq (local.get $cause) (i32.const 3)) (i32.le_s (global.get $depth) (i32.const 0)))))
      (local.set $line (i32.or (local.get $line)
        (i64.gt_u (i64.sub (local.get $now) (global.get $written)) (i64.const 10000000))))
      (local.set $line (i32.or (local.get $line)
        (i64.gt_u (i64.sub (local.get $now) (global.get $written))
          (i64.shr_u (i64.sub (local.get $now) (global.get $began)) (i64.const 1)))))
      (if (i32.and (local.get $line)
          (i32.and (i32.ne (global.get $pending) (i32.const 0)) (i32.ne (global.get $state) (i32.const 2))))
        (then
          (call $write-line)
          (global.set $written (local.get $now))))
      (global.set $continued (call $now))))
  (core instance $r (instantiate $recorder
    (with "memory" (instance $m))
    (with "host" (instance
      (export "get-stderr" (func $get-stderr'))
      (export "write" (func $write'))
      (export "now" (func $now'))
      (export "wall-now" (func $wall-now'))
      (export "drop-error" (func $drop-error))))))
  (alias core export $m "realloc" (core func $realloc))
  (func (export "attach") (param "buffer" (list u8))
    (canon lift (core func $r "attach") (memory $mem) (realloc $realloc)))
  (func (export "flush") (param "events" (list u8)) (param "cause" u32)
    (canon lift (core func $r "flush") (memory $mem) (realloc $realloc))))
