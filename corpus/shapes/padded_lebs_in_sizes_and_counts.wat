;; Section sizes, body sizes and counts padded to up to five bytes, as Go and linkers write them: taking the hooks out gives back these very bytes.
(module binary
  "\00asm\01\00\00\00"
  "\01\96\80\80\80\00"                                           ;; types, the size in five bytes
    "\83\80\80\80\00"                                            ;; three
    "\60\80\80\80\80\00\81\00\7f"                                ;; 0: () -> i32, its counts padded
    "\60\01\7f\01\7f"                                            ;; 1: (i32) -> i32
    "\60\00\00"                                                  ;; 2: () -> ()
  "\02\96\80\80\00"                                              ;; imports, the size in four bytes
    "\81\80\00"                                                  ;; one
    "\83\00env\84\80\80\80\00ping"                               ;; env ping, lengths padded
    "\00\81\80\80\00"                                            ;; a function of type 1
  "\03\8d\80\00"                                                 ;; functions, the size in three bytes
    "\83\80\80\80\00"                                            ;; three
    "\81\00\00\82\80\80\80\00"                                   ;; types 1, 0, 2
  "\04\8c\00"                                                    ;; tables, the size in two bytes
    "\81\80\80\80\00\70\00\84\80\80\80\00"                       ;; one, of at least four
  "\05\8b\80\80\80\00"                                           ;; memories
    "\81\80\80\80\00\00\81\80\80\80\00"                          ;; one, of at least one page
  "\07\ab\80\80\80\00"                                           ;; exports
    "\83\80\80\80\00"                                            ;; three
    "\83\80\00run\00\82\80\80\80\00"                             ;; function 2
    "\09run_again\00\83\00"                                      ;; function 3
    "\06memory\02\80\80\80\80\00"                                ;; memory 0
  "\08\85\80\80\80\00"                                           ;; start
    "\83\80\80\80\00"                                            ;; function 3, in five bytes
  "\09\b1\80\80\80\00"                                           ;; elements
    "\82\80\80\80\00"                                            ;; two
    "\82\80\80\80\00\80\80\80\80\00\41\00\0b\00\81\80\80\80\00\81\80\80\80\00" ;; encoding 2, names table 0: function 1
    "\86\00\80\00\41\01\0b\70\81\80\80\80\00\d2\82\80\80\80\00\0b" ;; encoding 6, the same with ref.func 2
  "\0c\85\00"                                                    ;; data count
    "\81\80\80\80\00"                                            ;; one
  "\0a\b9\80\80\80\00"                                           ;; code
    "\83\80\80\80\00"                                            ;; three
    "\98\80\80\80\00"                                            ;; function 1, the size in five bytes
      "\83\80\80\80\00\80\80\80\80\00\7f\82\80\80\80\00\7e\00\7b" ;; locals: no i32, two i64, no v128
      "\20\00"                                                   ;; local.get 0
      "\10\00"                                                   ;; call 0, the import
      "\0b"                                                      ;; end
    "\8b\80\00"                                                  ;; function 2, the size in three
      "\80\80\80\80\00"                                          ;; no locals
      "\41\29"                                                   ;; i32.const 41
      "\10\01"                                                   ;; call 1
      "\0f"                                                      ;; return
      "\0b"                                                      ;; end
    "\85\80\80\00"                                               ;; function 3, the size in four
      "\00"
      "\10\02"                                                   ;; call 2
      "\1a"                                                      ;; drop
      "\0b"                                                      ;; end
  "\0b\94\80\80\80\00"                                           ;; data
    "\81\80\80\80\00"                                            ;; one
    "\80\80\80\80\00\41\00\0b\82\80\80\80\00\68\69"              ;; active, memory 0, offset 0
)
