;; Names that fit nothing: invalid UTF-8, functions out of order, twice or out of range, subsections out of order, repeated or unknown.
(module binary
  "\00asm\01\00\00\00"
  "\01\05"                                                       ;; types
    "\01\60\00\01\7f"                                            ;; one: () -> i32
  "\03\03"                                                       ;; functions
    "\02\00\00"                                                  ;; two, of type 0
  "\07\07"                                                       ;; exports
    "\01"                                                        ;; one
    "\03run\00\01"                                               ;; function 1
  "\0a\10"                                                       ;; code
    "\02"                                                        ;; two
    "\04"                                                        ;; function 0
      "\00"                                                      ;; no locals
      "\41\01"                                                   ;; i32.const 1
      "\0b"                                                      ;; end
    "\09"                                                        ;; function 1
      "\01\01\7f"                                                ;; one i32
      "\02\7f"                                                   ;; block (result i32)
      "\10\00"                                                   ;; call 0
      "\0b"                                                      ;; end
      "\0b"                                                      ;; end
  "\00\5f"                                                       ;; custom
    "\04name"                                                    ;; its name
    "\02\13\02\01\01\09\05local\09\01\00\05local"                ;; locals first; function 9 and local 9 do not exist
    "\01\2b\04\01\06caller\00\06callee\00\0ccallee again\ff\ff\ff\ff\0f\06nobody" ;; 1 before 0, 0 twice, and 4294967295
    "\01\0b\01\00\08\ff\fe bad \c3"                              ;; functions again; not UTF-8
    "\2a\03\01\02\03"                                            ;; a subsection that nobody knows
    "\00\04\7fmod"                                               ;; module name at last, longer than its subsection
)
