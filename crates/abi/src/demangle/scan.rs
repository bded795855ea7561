//! Reads a demangled C++ name from left to right.

/// A part of a name.
pub(super) enum Token {
    /// `operator` and its symbol, or the conversion operator's keyword.
    Operator {
        is_conversion: bool,
    },
    /// Brackets of this kind with all that they contain, and where they begin.
    Group(u8, usize),
    Space,
    /// `::`
    Scope,
    /// Any other byte.
    Other,
}

/// Reads a name from left to right. Brackets with their contents are one token.
pub(super) struct Scan<'t> {
    pub(super) text: &'t str,
    pub(super) at: usize,
}

impl Scan<'_> {
    /// The next part.
    pub(super) fn token(&mut self) -> Option<Token> {
        let at = self.at;
        let byte = *self.text.as_bytes().get(at)?;
        if let Some(operator) = self.operator() {
            return Some(operator);
        }
        Some(match byte {
            b'(' | b'<' | b'[' | b'{' => {
                self.group();
                Token::Group(byte, at)
            }
            b' ' => {
                self.at += 1;
                Token::Space
            }
            b':' if self.text[at..].starts_with("::") => {
                self.at += 2;
                Token::Scope
            }
            _ => {
                self.at += self.text[at..].chars().next().map_or(1, char::len_utf8);
                Token::Other
            }
        })
    }

    /// Skips `operator` with its symbol, if it begins here.
    fn operator(&mut self) -> Option<Token> {
        const WORD: &str = "operator";
        // The longest first.
        const SYMBOLS: [&str; 45] = [
            "<=>",
            "<<=",
            ">>=",
            "->*",
            "()",
            "[]",
            "->",
            "<<",
            ">>",
            "<=",
            ">=",
            "==",
            "!=",
            "&&",
            "||",
            "++",
            "--",
            "+=",
            "-=",
            "*=",
            "/=",
            "%=",
            "^=",
            "&=",
            "|=",
            "\"\" ",
            "\"\"",
            "<",
            ">",
            "+",
            "-",
            "*",
            "/",
            "%",
            "^",
            "&",
            "|",
            "~",
            "!",
            "=",
            ",",
            " new[]",
            " new",
            " delete[]",
            " delete",
        ];
        let is_word =
            |c: Option<u8>| c.is_some_and(|c| c.is_ascii_alphanumeric() || c == b'_' || c == b'$' || c >= 128);
        let bytes = self.text.as_bytes();
        let rest = bytes[self.at..].strip_prefix(WORD.as_bytes())?;
        if is_word(self.at.checked_sub(1).map(|before| bytes[before])) || is_word(rest.first().copied()) {
            return None;
        }
        let symbol = SYMBOLS.iter().find(|symbol| rest.starts_with(symbol.as_bytes()));
        // LLVM writes `operator<` with template arguments as `operator<<int>`, but `operator<<` as `operator<<<int>`.
        let is_less = |rest: &[u8]| {
            !matches!(rest.first(), None | Some(b'(' | b'<' | b' ' | b'[' | b'@'))
                || rest.starts_with(b"(anonymous namespace)::")
        };
        let symbol = symbol.map(|symbol| if *symbol == "<<" && is_less(&rest[2..]) { &"<" } else { symbol });
        // A type may begin with the letters of `new`.
        let symbol = symbol.filter(|symbol| !symbol.starts_with(' ') || !is_word(rest.get(symbol.len()).copied()));
        self.at += WORD.len() + symbol.map_or(0, |symbol| symbol.len());
        // `operator< <int>`
        self.at += usize::from(symbol.is_some() && self.text[self.at..].starts_with(" <"));
        Some(Token::Operator { is_conversion: symbol.is_none() && rest.starts_with(b" ") })
    }

    /// Skips brackets with their contents. `<` and `>` may be operators of an expression in parentheses: a parenthesis
    /// closes what was opened in it.
    fn group(&mut self) {
        let mut open: Vec<u8> = Vec::new();
        let bytes = self.text.as_bytes();
        while self.at < bytes.len() {
            if self.operator().is_some() {
                continue;
            }
            let byte = bytes[self.at];
            self.at += 1;
            match byte {
                // In an expression: `sizeof (int) < 99`, ` << `, ` <= `.
                b'<' if self.text[..self.at - 1].ends_with(' ')
                    && matches!(bytes.get(self.at), Some(b' ' | b'<' | b'=')) =>
                {
                    while matches!(bytes.get(self.at), Some(b'<' | b'=' | b'>')) {
                        self.at += 1;
                    }
                }
                b'(' | b'<' | b'[' | b'{' => open.push(byte),
                b'-' if bytes.get(self.at) == Some(&b'>') => self.at += 1,
                b'>' => _ = open.pop_if(|open| *open == b'<'),
                b')' | b']' | b'}' => {
                    let opening = match byte {
                        b')' => b'(',
                        b']' => b'[',
                        _ => b'{',
                    };
                    while let Some(closed) = open.pop() {
                        if closed == opening {
                            break;
                        }
                    }
                }
                _ => {}
            }
            if open.is_empty() {
                return;
            }
        }
    }
}
