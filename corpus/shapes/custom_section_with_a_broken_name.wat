;; A custom section whose name is longer than the section itself: the format forbids it, and so do we.
;; refused: malformed custom section
(module binary
  "\00asm\01\00\00\00"
  "\01\05"            ;; types
    "\01\60\00\01\7f" ;; one: () -> i32
  "\03\03"            ;; functions
    "\02\00\00"       ;; two, of type 0
  "\07\07"            ;; exports
    "\01"             ;; one
    "\03run\00\01"    ;; function 1
  "\0a\10"            ;; code
    "\02"             ;; two
    "\04"             ;; function 0
      "\00"           ;; no locals
      "\41\01"        ;; i32.const 1
      "\0b"           ;; end
    "\09"             ;; function 1
      "\01\01\7f"     ;; one i32
      "\02\7f"        ;; block (result i32)
      "\10\00"        ;; call 0
      "\0b"           ;; end
      "\0b"           ;; end
  "\00\06"            ;; custom
    " short"          ;; a name of 32 bytes, it says
)
