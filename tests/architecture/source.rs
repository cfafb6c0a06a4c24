//! One Rust file as its tokens: enough to tell paths, attributes and items from comments and text. It parses no more
//! of the language than the rules need, and what it does not understand it reads as single characters.

/// A file, what it is called, and its tokens without comments, text and its own tests.
#[derive(Clone)]
pub struct Source {
    pub path: String,
    /// Where it lies below `daemon/`, without its ending: `plan/order`, `plan/mod`, `clock`.
    pub module: String,
    pub text: String,
    tokens: Vec<Token>,
    test_lines: usize,
}

/// A path into the program, as a file names it.
#[derive(Debug, PartialEq, Eq)]
pub struct Named {
    /// Its words: `crate`, `model`, `plan`, `Plan`.
    pub path: Vec<String>,
    /// What the file calls it: the last word, or what stands after `as`.
    pub name: String,
    /// It stands in a `pub use`.
    pub passed_on: bool,
}

/// What a file declares, with the lines.
#[derive(Debug, Default)]
pub struct Declared {
    /// Functions that are not in an `impl` or a `trait`.
    pub functions: Vec<(usize, String)>,
    /// Structs, enums, traits and type aliases.
    pub types: Vec<(usize, String)>,
}

#[derive(Clone)]
struct Token {
    line: usize,
    text: String,
}

/// Whether a module is the part, or lies in its folder; `plan` is `plan/mod`, `plan/order` and `plan.rs`.
pub fn lies_in(module: &str, part: &str) -> bool {
    part.is_empty() || module.strip_prefix(part).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

impl Source {
    pub fn new(path: &str, text: &str) -> Self {
        let module = path.strip_prefix("daemon/").unwrap_or(path);
        let module = module.strip_suffix(".rs").unwrap_or(module).to_owned();
        let (tokens, test_lines) = without_tests(&tokens(text));
        Self { path: path.to_owned(), module, text: text.to_owned(), tokens, test_lines }
    }

    /// Whether all of it is tests.
    pub fn is_test(&self) -> bool {
        self.module.split('/').any(|part| part == "tests")
    }

    pub fn lines_without_tests(&self) -> usize {
        self.text.lines().count() - self.test_lines
    }

    /// The lines on which a row of tokens begins, written with spaces between them. `std :: fs` is also found in
    /// `use std::{fmt, fs}`.
    pub fn lines_of(&self, wanted: &str) -> Vec<usize> {
        let wanted: Vec<_> = wanted.split(' ').collect();
        let fits = |at: usize| wanted.iter().enumerate().all(|(n, text)| self.is(at + n, text));
        // A path begins with its first word; other rows of tokens are found anywhere.
        let path = wanted.get(1) == Some(&"::");
        let plain = (0..self.tokens.len()).filter(|at| fits(*at) && !(path && self.is_inside(*at)));
        let mut lines: Vec<_> = plain.map(|at| self.tokens[at].line).collect();
        if let [root, "::", leaf] = wanted[..] {
            let groups = (0..self.tokens.len())
                .filter(|at| self.is(*at, root) && self.is(at + 1, "::") && self.is(at + 2, "{"));
            lines.extend(
                groups
                    .flat_map(|at| self.group(at + 2))
                    .filter(|(_, name)| name == leaf)
                    .map(|(line, _)| line),
            );
        }
        lines
    }

    /// Every part of the program that is named, with the line: by `crate::`, by `windlass::`, or by leaving one's own
    /// part upwards.
    pub fn imports(&self) -> Vec<(usize, String)> {
        let mut found = Vec::new();
        let folders = self.module.split('/').filter(|part| *part != "mod").count();
        for at in 0..self.tokens.len() {
            let begins = !self.is_inside(at);
            let after = match self.tokens[at].text.as_str() {
                "crate" | "windlass" if begins => at + 1,
                "super" if begins => {
                    let pairs = (at..self.tokens.len()).step_by(2);
                    let ups = pairs.take_while(|at| self.is(*at, "super") && self.is(at + 1, "::")).count();
                    if ups < folders {
                        continue;
                    }
                    at + 2 * ups - 1
                }
                _ => continue,
            };
            if !self.is(after, "::") {
                continue;
            }
            if self.is(after + 1, "{") {
                found.extend(self.group(after + 1));
            } else if let Some(token) = self.tokens.get(after + 1) {
                found.push((token.line, token.text.clone()));
            }
        }
        found
    }

    /// Every path into the program in full: by `crate::`, `windlass::`, `super::`, `self::`, or into a module that the
    /// file declares.
    pub fn named(&self) -> Vec<Named> {
        let mut found = Vec::new();
        let mut at = 0;
        while at < self.tokens.len() {
            let root = ["crate", "windlass", "super", "self"].contains(&self.tokens[at].text.as_str());
            let begins = !self.is_inside(at) && self.is(at + 1, "::") && (root || self.declares(at));
            if !begins {
                at += 1;
                continue;
            }
            let before = at.checked_sub(2).map(|before| self.tokens[before].text.as_str());
            let passed_on = self.is(at - usize::from(at > 0), "use") && matches!(before, Some("pub" | ")"));
            at = self.expand(at, &[], passed_on, &mut found);
        }
        found
    }

    /// Whether a file uses a name outside of its imports and its declarations of modules.
    pub fn uses(&self, name: &str) -> bool {
        let mut imports = false;
        for at in 0..self.tokens.len() {
            imports = (imports || self.is(at, "use")) && !self.is(at, ";");
            let declared = at > 0 && self.is(at - 1, "mod");
            if !imports && !declared && self.is(at, name) && !self.is_inside(at) {
                return true;
            }
        }
        false
    }

    /// Whether the file declares a module of the name that stands here.
    fn declares(&self, at: usize) -> bool {
        let name = &self.tokens[at].text;
        (0..self.tokens.len()).any(|at| self.is(at, "mod") && self.is(at + 1, name) && self.is(at + 2, ";"))
    }

    /// Reads the path that goes on here, with all its branches; answers with where it ends.
    fn expand(&self, at: usize, before: &[String], passed_on: bool, found: &mut Vec<Named>) -> usize {
        if self.is(at, "{") {
            let end = self.closing(at);
            let mut next = at + 1;
            while next < end {
                next = self.expand(next, before, passed_on, found).max(next + 1);
                next += usize::from(self.is(next, ","));
            }
            return end + 1;
        }
        let Some(token) = self.tokens.get(at) else { return at };
        let path = [before, std::slice::from_ref(&token.text)].concat();
        let goes_on = self.is(at + 1, "::") && !self.is(at + 2, "<");
        if goes_on {
            return self.expand(at + 2, &path, passed_on, found);
        }
        let alias = self.tokens.get(at + 2).filter(|_| self.is(at + 1, "as"));
        let end = if alias.is_some() { at + 3 } else { at + 1 };
        let name = alias.unwrap_or(token).text.clone();
        found.push(Named { path, name, passed_on });
        end
    }

    /// What stands in the brackets of every attribute of this name: `allow` in `#[allow(x)]` and `cfg_attr(y, allow(x))`.
    pub fn attributes(&self, name: &str) -> Vec<(usize, String)> {
        let mut found = Vec::new();
        for at in 0..self.tokens.len() {
            let open = if self.is(at + 1, "!") { at + 2 } else { at + 1 };
            if !self.is(at, "#") || !self.is(open, "[") {
                continue;
            }
            let inside = &self.tokens[open..self.closing(open)];
            let named = inside
                .iter()
                .zip(inside.iter().skip(1))
                .any(|(word, next)| word.text == name && next.text == "(");
            if named {
                let text = inside.iter().map(|token| token.text.as_str()).collect::<Vec<_>>().join(" ");
                found.push((self.tokens[at].line, text));
            }
        }
        found
    }

    /// The names of structs, enums and traits.
    pub fn types(&self) -> Vec<(usize, String)> {
        let pairs = self.tokens.iter().zip(self.tokens.iter().skip(1));
        let types = pairs.filter(|(word, _)| ["struct", "enum", "trait"].contains(&word.text.as_str()));
        types.map(|(_, name)| (name.line, name.text.clone())).collect()
    }

    /// The functions and types that a file declares. The insides of an `impl` or a `trait` are skipped.
    pub fn declared(&self) -> Declared {
        let mut found = Declared::default();
        let mut at = 0;
        while let Some(token) = self.tokens.get(at) {
            let name = self.tokens.get(at + 1).filter(|next| next.text.starts_with(char::is_alphabetic));
            let name = name.map(|name| (name.line, name.text.clone()));
            let methods = match token.text.as_str() {
                "fn" => {
                    found.functions.extend(name);
                    false
                }
                word @ ("struct" | "enum" | "trait" | "type") => {
                    found.types.extend(name);
                    word == "trait"
                }
                "impl" => self.begins_item(at),
                _ => false,
            };
            let body = methods.then(|| (at..self.tokens.len()).find(|at| self.is(*at, "{"))).flatten();
            at = body.map_or(at, |open| self.closing(open)) + 1;
        }
        found
    }

    /// Whether an item may begin here: the `impl` of `impl T {}`, not that of `-> impl T`.
    fn begins_item(&self, at: usize) -> bool {
        at == 0 || [";", "{", "}", "]", "unsafe"].iter().any(|before| self.is(at - 1, before))
    }

    fn is(&self, at: usize, text: &str) -> bool {
        self.tokens.get(at).is_some_and(|token| token.text == text)
    }

    /// Whether a path goes on here, rather than begins: the `kube` of `crate::kube`.
    fn is_inside(&self, at: usize) -> bool {
        at > 0 && (self.is(at - 1, "::") || self.is(at - 1, "."))
    }

    /// The first names within braces, `a` and `b` of `{a::c, b::{d, e}}`.
    fn group(&self, open: usize) -> Vec<(usize, String)> {
        let mut found = Vec::new();
        let mut depth = 0;
        for at in open..self.closing(open) {
            match self.tokens[at].text.as_str() {
                "{" => depth += 1,
                "}" => depth -= 1,
                _ => {}
            }
            let begins = (self.is(at, "{") || self.is(at, ",")) && depth == 1;
            if begins && let Some(next) = self.tokens.get(at + 1).filter(|next| next.text != "}") {
                found.push((next.line, next.text.clone()));
            }
        }
        found
    }

    fn closing(&self, open: usize) -> usize {
        closing(&self.tokens, open)
    }
}

/// Where the bracket that opens here closes; the end, if it does not.
fn closing(tokens: &[Token], open: usize) -> usize {
    let mut depth = 0usize;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        match token.text.as_str() {
            "{" | "[" | "(" => depth += 1,
            "}" | "]" | ")" => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return at;
        }
    }
    tokens.len()
}

/// Takes out what `#[cfg(test)]` stands before, and counts its lines.
fn without_tests(tokens: &[Token]) -> (Vec<Token>, usize) {
    let mark = ["#", "[", "cfg", "(", "test", ")", "]"];
    let mut kept = Vec::new();
    let (mut at, mut lines) = (0, 0);
    while at < tokens.len() {
        let marked = mark
            .iter()
            .enumerate()
            .all(|(n, text)| tokens.get(at + n).is_some_and(|token| token.text == *text));
        if !marked {
            kept.push(tokens[at].clone());
            at += 1;
            continue;
        }
        let begins = at + mark.len();
        let ends = (begins..tokens.len()).find(|n| [";", "{"].contains(&tokens[*n].text.as_str()));
        let last = ends.map_or(tokens.len(), |n| if tokens[n].text == "{" { closing(tokens, n) } else { n });
        lines += tokens[last.min(tokens.len() - 1)].line - tokens[at].line + 1;
        at = last + 1;
    }
    (kept, lines)
}

/// Words, `::` and single signs; comments are nothing, and text is one `""`.
fn tokens(text: &str) -> Vec<Token> {
    let mut found = Vec::new();
    let mut rest = text;
    let mut line = 1;
    while let Some(first) = rest.chars().next() {
        let (length, token) = next(rest, first);
        if let Some(token) = token {
            found.push(Token { line, text: token.to_owned() });
        }
        line += rest[..length].matches('\n').count();
        rest = &rest[length..];
    }
    found
}

/// The length of what comes next, and the token that it is, if it is one.
fn next(rest: &str, first: char) -> (usize, Option<&str>) {
    let letter = |sign: char| sign.is_alphanumeric() || sign == '_';
    if rest.starts_with("//") {
        return (rest.find('\n').unwrap_or(rest.len()), None);
    }
    if rest.starts_with("/*") {
        return (rest.find("*/").map_or(rest.len(), |end| end + 2), None);
    }
    if let Some(length) = raw(rest) {
        return (length, Some("\"\""));
    }
    if first == '"' {
        return (quoted(rest, '"'), Some("\"\""));
    }
    if first == '\'' {
        // A letter in quotes, or a lifetime.
        let mut signs = rest.chars().skip(1);
        let (one, two) = (signs.next(), signs.next());
        let lifetime = one.is_some_and(letter) && two != Some('\'');
        return if lifetime { (1, None) } else { (quoted(rest, '\''), Some("''")) };
    }
    if letter(first) {
        let length = rest.find(|sign| !letter(sign)).unwrap_or(rest.len());
        return (length, Some(&rest[..length]));
    }
    let length = if rest.starts_with("::") { 2 } else { first.len_utf8() };
    (length, (!first.is_whitespace()).then_some(&rest[..length]))
}

/// The length of a raw string that begins here, `r"…"` or `br##"…"##`.
fn raw(rest: &str) -> Option<usize> {
    let after = rest.strip_prefix("br").or_else(|| rest.strip_prefix('r'))?;
    let marks = after.bytes().take_while(|byte| *byte == b'#').count();
    let body = after[marks..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(marks));
    let before = rest.len() - body.len();
    Some(body.find(&end).map_or(rest.len(), |at| before + at + end.len()))
}

/// The length of what stands in quotes, escapes read.
fn quoted(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, sign) in rest.char_indices().skip(1) {
        match sign {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if sign == quote => return at + quote.len_utf8(),
            _ => {}
        }
    }
    rest.len()
}
