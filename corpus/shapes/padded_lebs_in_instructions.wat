;; Linkers pad function indices to five bytes: a rewritten index keeps the width that it had, and every other padded number its bytes.
(module binary
  "\00asm\01\00\00\00"
  "\01\0d"                                         ;; types
    "\03"                                          ;; three
    "\60\01\7f\01\7f"                              ;; 0: (i32) -> i32
    "\60\00\01\7f"                                 ;; 1: () -> i32
    "\60\00\00"                                    ;; 2: () -> ()
  "\03\05"                                         ;; functions
    "\04"                                          ;; four
    "\00\01\01\01"                                 ;; types 0, 1, 1, 1
  "\04\04"                                         ;; tables
    "\01\70\00\01"                                 ;; one of at least one funcref
  "\06\0a"                                         ;; globals
    "\01"                                          ;; one
    "\7f\00\41\aa\80\80\80\00\0b"                  ;; an i32 of 42, padded
  "\07\1e"                                         ;; exports
    "\03"                                          ;; three
    "\03run\00\01"
    "\08run_tail\00\02"
    "\09run_mixed\00\03"
  "\09\0e"                                         ;; elements
    "\01"                                          ;; one
    "\00\41\80\80\80\00\0b"                        ;; active, offset 0 in four bytes
    "\01\80\80\80\80\00"                           ;; function 0 in five bytes
  "\0a\69"                                         ;; code
    "\04"                                          ;; four
    "\0f"                                          ;; function 0
      "\00"                                        ;; no locals
      "\20\80\80\80\80\00"                         ;; local.get 0
      "\41\81\80\80\80\00"                         ;; i32.const 1
      "\6a"                                        ;; i32.add
      "\0b"                                        ;; end
    "\17"                                          ;; function 1
      "\00"
      "\02\7f"                                     ;; block (result i32)
      "\23\80\80\80\80\00"                         ;; global.get 0
      "\10\80\80\80\80\00"                         ;; call 0, in five bytes
      "\0c\81\80\80\80\00"                         ;; br 1: the function
      "\0b"                                        ;; end
      "\0b"                                        ;; end
    "\0c"                                          ;; function 2
      "\00"
      "\41\07"                                     ;; i32.const 7
      "\10\80\00"                                  ;; call 0, in two bytes
      "\12\80\80\80\00"                            ;; return_call 0, in four bytes
      "\0b"                                        ;; end
    "\32"                                          ;; function 3
      "\00"
      "\d2\80\80\00"                               ;; ref.func 0, in three bytes
      "\1a"                                        ;; drop
      "\02\82\80\00"                               ;; block of type 2, in three bytes
      "\41\00"                                     ;; i32.const 0
      "\0e\81\80\80\80\00\80\80\80\80\00\80\80\00" ;; br_table 0, default 0, all padded
      "\0b"                                        ;; end
      "\41\03"                                     ;; i32.const 3
      "\41\00"                                     ;; i32.const 0
      "\11\80\80\80\80\00\80\00"                   ;; call_indirect type 0, table 0, padded
      "\10\82\80\80\80\00"                         ;; call 2, in five bytes
      "\6a"                                        ;; i32.add
      "\10\00"                                     ;; call 0, in one byte
      "\0f"                                        ;; return
      "\0b"                                        ;; end
)
