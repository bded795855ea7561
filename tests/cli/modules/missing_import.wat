;; No host has this; its name would clear a terminal.
(module
  (import "env" "no\1b[2Jsuch" (func))
  (func (export "_start")))
