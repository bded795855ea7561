;; The name section's own sizes are padded, and function indices in it as well.
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
  "\00\cc\80\80\80\00"                                           ;; custom
    "\04name"                                                    ;; its name
    "\01\a2\80\80\80\00\82\80\80\80\00\80\80\80\80\00\86\00callee\81\80\80\80\00\86\80\80\80\00caller" ;; functions 0 and 1, indices padded
    "\02\9a\80\80\00\81\80\80\80\00\81\80\80\80\00\81\80\80\80\00\80\80\80\80\00\05local" ;; local 0 of function 1
)
