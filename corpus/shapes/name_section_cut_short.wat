;; The name section's second subsection promises more bytes than there are: names are lost, the module is not.
(module binary
  "\00asm\01\00\00\00"
  "\01\05"                  ;; types
    "\01\60\00\01\7f"       ;; one: () -> i32
  "\03\03"                  ;; functions
    "\02\00\00"             ;; two, of type 0
  "\07\07"                  ;; exports
    "\01"                   ;; one
    "\03run\00\01"          ;; function 1
  "\0a\10"                  ;; code
    "\02"                   ;; two
    "\04"                   ;; function 0
      "\00"                 ;; no locals
      "\41\01"              ;; i32.const 1
      "\0b"                 ;; end
    "\09"                   ;; function 1
      "\01\01\7f"           ;; one i32
      "\02\7f"              ;; block (result i32)
      "\10\00"              ;; call 0
      "\0b"                 ;; end
      "\0b"                 ;; end
  "\00\19"                  ;; custom
    "\04name"               ;; its name
    "\00\07\06module"       ;; module name
    "\01\7f\02\00\06callee" ;; functions, 127 bytes long it says
)
