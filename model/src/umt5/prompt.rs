//! What diffusers does to a prompt before it is tokenised.

/// HTML character references replaced twice (`&amp;lt;` is `<`), runs of white space replaced by one space, none at the
/// ends.
///
/// diffusers first passes prompts through the Python package ftfy where that is installed, which mends text that was
/// decoded wrongly and straightens curly quotes; that is left out here. References to code points that are no characters
/// (`&#1;`) are dropped by Python and kept here, as HTML says.
pub fn clean(prompt: &str) -> String {
    let once = htmlize::unescape(prompt);
    let twice = htmlize::unescape(&*once);
    let words = twice.trim_matches(is_stripped).split(char::is_whitespace).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ").trim_matches(is_stripped).to_owned()
}

/// What Python's `strip` takes off: Unicode's white space, and four separators of ASCII, which diffusers leaves alone
/// within a prompt.
fn is_stripped(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The right sides are those of `prompt_clean` in diffusers 0.42.1 without ftfy.
    #[test]
    fn prompts_are_cleaned_as_diffusers_does() {
        let cases = [
            ("", ""),
            (" \t\n", ""),
            ("  a  cat\u{a0}\u{3000}sits\r\n\u{1d}down ", "a cat sits \u{1d}down"),
            ("\u{1e} a \u{1c}", "a"),
            ("Tom &amp; Jerry &amp;amp;amp; &amp;lt;b&amp;gt;", "Tom & Jerry &amp; <b>"),
            ("&eacute;&#233;&#xE9; &notit; &nbsp;x", "ééé ¬it; x"),
            ("&unknown; & 5 &lt 6 &#128;", "&unknown; & 5 < 6 €"),
            ("zero\u{200b}width", "zero\u{200b}width"),
        ];
        for (prompt, want) in cases {
            assert_eq!(clean(prompt), want, "{prompt:?}");
        }
    }
}
