;; An import section that counts to nothing: the new imports belong into it, for there may be only one.
(module binary
  "\00asm\01\00\00\00"
  "\01\05"            ;; types
    "\01\60\00\01\7f" ;; one: () -> i32
  "\02\01"            ;; imports
    "\00"             ;; none
  "\03\02"            ;; functions
    "\01\00"          ;; one, of type 0
  "\04\01"            ;; tables
    "\00"             ;; none
  "\05\01"            ;; memories
    "\00"             ;; none
  "\06\01"            ;; globals
    "\00"             ;; none
  "\07\07"            ;; exports
    "\01"             ;; one
    "\03run\00\00"    ;; function 0
  "\09\01"            ;; elements
    "\00"             ;; none
  "\0c\01"            ;; data count
    "\00"             ;; none
  "\0a\06"            ;; code
    "\01"             ;; one
    "\04"             ;; function 0
      "\00"           ;; no locals
      "\41\05"        ;; i32.const 5
      "\0b"           ;; end
  "\0b\01"            ;; data
    "\00"             ;; none
)
