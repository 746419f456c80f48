//! Shows what modules give, by diffusers' names.

use std::fmt::Arguments;

use flg_engine::Tensor;

/// Called with a module's name and a frame `[h, w, c]` of what it gives.
type See<'a> = dyn FnMut(&str, &Tensor) + 'a;

/// Whoever looks, if anybody does.
pub(super) struct Probe<'a>(pub Option<&'a mut See<'a>>);

impl Probe<'_> {
    pub(super) fn see(&mut self, name: Arguments<'_>, frame: &Tensor) {
        if let Some(see) = &mut self.0 {
            see(&name.to_string(), frame);
        }
    }
}
