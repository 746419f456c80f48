//! One step of AdamW in f64.

/// The scalars of a step.
#[derive(Clone, Copy)]
pub(super) struct Scalars {
    pub lr: f64,
    pub beta1: f64,
    pub beta2: f64,
    pub eps: f64,
    pub weight_decay: f64,
    pub grad_scale: f64,
    pub step: u64,
}

/// `[param, m, v]` after the step.
pub(super) fn step(state: [f64; 3], grad: f64, s: Scalars) -> [f64; 3] {
    let [param, m, v] = state;
    let g = s.grad_scale * grad;
    let m = s.beta1 * m + (1.0 - s.beta1) * g;
    let v = s.beta2 * v + (1.0 - s.beta2) * g * g;
    let m_hat = m / (1.0 - s.beta1.powf(s.step as f64));
    let v_hat = v / (1.0 - s.beta2.powf(s.step as f64));
    let param = param - s.lr * s.weight_decay * param - s.lr * m_hat / (v_hat.sqrt() + s.eps);
    [param, m, v]
}
