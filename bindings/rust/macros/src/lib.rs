//! The attribute `#[span]` of `wasmtrace-guest`, which documents it.
//!
//! It needs no parser: the body of a function is the last token of its item,
//! and the guard goes in front of the body's first statement. Whatever else is
//! in the signature stays as it is.

use proc_macro::{Delimiter, Group, Ident, Literal, Punct, Spacing, Span, TokenStream, TokenTree};

#[proc_macro_attribute]
pub fn span(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let changed = name_argument(arguments).and_then(|name| open_in_body(name, ungrouped(item.clone())));
    match changed {
        Ok(item) => item,
        // The function stays, so that its callers add no errors of their own.
        Err((at, message)) => compile_error(at, message).into_iter().chain(item).collect(),
    }
}

type Error = (Span, &'static str);

const USAGE: &str = "expected `#[span]`, `#[span(\"name\")]` or `#[span(name = \"name\")]`";

/// The literal in `"name"` or `name = "name"`.
fn name_argument(arguments: TokenStream) -> Result<Option<Literal>, Error> {
    let mut tokens: Vec<_> = arguments.into_iter().collect();
    if let [TokenTree::Ident(key), TokenTree::Punct(equals), ..] = &tokens[..] {
        if key.to_string() == "name" && equals.as_char() == '=' {
            tokens.drain(..2);
            if tokens.is_empty() {
                return Err((Span::call_site(), USAGE));
            }
        }
    }
    if let [_, TokenTree::Punct(comma)] = &tokens[..] {
        if comma.as_char() == ',' {
            tokens.pop();
        }
    }
    let tokens = ungrouped(tokens.into_iter().collect());
    match &tokens[..] {
        [] => Ok(None),
        [TokenTree::Literal(name)] if name.to_string().starts_with(&['"', 'r'][..]) => Ok(Some(name.clone())),
        [first, ..] => Err((first.span(), USAGE)),
    }
}

/// The function with a guard in its body.
fn open_in_body(name: Option<Literal>, mut item: Vec<TokenTree>) -> Result<TokenStream, Error> {
    // Attributes, the parentheses of `pub(…)` and arguments are groups: the
    // first `fn` outside of them is the function's own.
    let keyword = |token: &TokenTree, word: &str| matches!(token, TokenTree::Ident(i) if i.to_string() == word);
    let at = item.iter().position(|t| keyword(t, "fn"));
    let (at, function) = match at.and_then(|at| Some((at, item.get(at + 1)?))) {
        Some((at, TokenTree::Ident(function))) => (at, function.clone()),
        _ => return Err((item.first().map_or_else(Span::call_site, TokenTree::span), "`#[span]` is for functions")),
    };
    for qualifier in &item[..at] {
        if keyword(qualifier, "async") || keyword(qualifier, "gen") {
            return Err((
                qualifier.span(),
                "`#[span]` cannot be on an async function: at an `.await` other spans open and close, and spans \
                 close innermost first; put `wasmtrace_guest::span` around the parts without `.await`",
            ));
        }
        if keyword(qualifier, "const") {
            return Err((qualifier.span(), "`#[span]` cannot be on a const function: it calls the host"));
        }
    }
    // A `$body:block` of a macro comes in a group without delimiters.
    let body = match item.pop().map(|last| ungrouped(last.into())).as_deref() {
        Some([TokenTree::Group(body)]) if body.delimiter() == Delimiter::Brace => body.clone(),
        _ => return Err((function.span(), "`#[span]` needs a function with a body")),
    };
    let name = name.unwrap_or_else(|| Literal::string(function.to_string().trim_start_matches("r#")));
    item.push(with_guard(name, body).into());
    Ok(item.into_iter().collect())
}

/// `{ let _span = ::wasmtrace_guest::span(name); … }`
fn with_guard(name: Literal, body: Group) -> Group {
    let mut statements: Vec<_> = body.stream().into_iter().collect();
    // Inner attributes stay first.
    let mut start = 0;
    while let [TokenTree::Punct(hash), TokenTree::Punct(bang), TokenTree::Group(_), ..] = &statements[start..] {
        if hash.as_char() != '#' || bang.as_char() != '!' {
            break;
        }
        start += 3;
    }
    // Not to be seen by, nor to hide, anything of the function's.
    let own = Span::mixed_site();
    let ident = |text: &str| TokenTree::from(Ident::new(text, own));
    let punct = |text: char, spacing: Spacing| {
        let mut punct = Punct::new(text, spacing);
        punct.set_span(own);
        TokenTree::from(punct)
    };
    let guard = [
        ident("let"),
        ident("_span"),
        punct('=', Spacing::Alone),
        punct(':', Spacing::Joint),
        punct(':', Spacing::Alone),
        ident("wasmtrace_guest"),
        punct(':', Spacing::Joint),
        punct(':', Spacing::Alone),
        ident("span"),
        Group::new(Delimiter::Parenthesis, TokenTree::from(name).into()).into(),
        punct(';', Spacing::Alone),
    ];
    statements.splice(start..start, guard);
    let mut group = Group::new(Delimiter::Brace, statements.into_iter().collect());
    group.set_span(body.span());
    group
}

/// The tokens without the invisible group that a macro may have put around them.
fn ungrouped(tokens: TokenStream) -> Vec<TokenTree> {
    let mut tokens: Vec<_> = tokens.into_iter().collect();
    while let [TokenTree::Group(group)] = &tokens[..] {
        if group.delimiter() != Delimiter::None {
            break;
        }
        tokens = group.stream().into_iter().collect();
    }
    tokens
}

/// `::core::compile_error! { "message" }`, reported at `at`.
fn compile_error(at: Span, message: &str) -> TokenStream {
    let message = TokenTree::from(Literal::string(message));
    let tokens = [
        Punct::new(':', Spacing::Joint).into(),
        Punct::new(':', Spacing::Alone).into(),
        Ident::new("core", at).into(),
        Punct::new(':', Spacing::Joint).into(),
        Punct::new(':', Spacing::Alone).into(),
        Ident::new("compile_error", at).into(),
        Punct::new('!', Spacing::Alone).into(),
        Group::new(Delimiter::Brace, message.into()).into(),
    ];
    tokens
        .into_iter()
        .map(|mut token: TokenTree| {
            token.set_span(at);
            token
        })
        .collect()
}
