//! What a step of an optimizer needs to know beside parameter, gradient and moments.

/// A step of Adam for one parameter.
///
/// With `g` the gradient and the penalty, `m ← β₁·m + (1 − β₁)·g`, `v ← β₂·v + (1 − β₂)·g²`, and with `t` the steps up to this one
/// the parameter becomes `p·(1 − rate·decay) − rate · (m / (1 − β₁ᵗ)) / (√(v / (1 − β₂ᵗ)) + ε)`.
///
/// Paper: Kingma and Ba, 2015, <https://arxiv.org/abs/1412.6980>, algorithm 1; Loshchilov and Hutter, 2019,
/// <https://arxiv.org/abs/1711.05101>, algorithm 2, for the decay.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamStep {
    /// The learning rate.
    pub rate: f64,
    /// How much of the first and the second moment stays, `[β₁, β₂]`, each in 0..1.
    pub betas: [f32; 2],
    /// What keeps the divisor from zero.
    pub epsilon: f32,
    /// Steps up to this one, from 1.
    pub time: usize,
    /// The share of the parameter that is added to the gradient (L2 penalty); 0 for none.
    pub penalty: f32,
    /// The decoupled weight decay of AdamW; 0 for none.
    pub decay: f32,
}

impl AdamStep {
    /// What is left of the parameter, the factor of the first moment, and the summand of the second one's root: the formula above with
    /// both fractions multiplied by `√(1 − β₂ᵗ)`.
    pub(crate) fn factors(&self) -> [f64; 3] {
        let [first, second] = self.betas.map(|beta| 1.0 - f64::from(beta).powf(self.time as f64));
        [
            1.0 - self.rate * f64::from(self.decay),
            self.rate * second.sqrt() / first,
            f64::from(self.epsilon) * second.sqrt(),
        ]
    }
}
