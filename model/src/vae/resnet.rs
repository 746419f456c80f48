//! Residual blocks, and the attention between two of them in the middle.

use flg_engine::{DType, Tensor};
use flg_kernels::attention;
use flg_kernels::unit_norm::{self, Activation};

use super::conv::{Causal, Conv, History};
use super::source::Source;
use crate::Result;

/// The norm over channels, with what follows it.
#[derive(Clone, Debug)]
pub(super) struct Norm {
    weight: Tensor,
    activation: Activation,
}

impl Norm {
    pub(super) fn new(source: &Source<'_>, name: &str, activation: Activation) -> Result<Self> {
        Ok(Norm { weight: source.get(&format!("{name}.gamma"))?, activation })
    }

    pub(super) fn run(&self, x: &Tensor) -> Result<Tensor> {
        let (rows, width) = (x.shape().rows(), x.shape().width());
        let mut y = Tensor::empty(x.device(), x.shape(), DType::F32)?;
        let (weight, activation) = (self.weight.input()?, self.activation);
        let args = unit_norm::Args { x: x.input()?, weight, y: y.output()?, rows, width, activation };
        unit_norm::unit_norm(x.device().runtime(), args).map_err(flg_engine::Error::from)?;
        Ok(y)
    }
}

/// `shortcut(x) + conv2(silu(norm2(conv1(silu(norm1(x))))))`
#[derive(Clone, Debug)]
pub(super) struct Resnet {
    norms: [Norm; 2],
    convs: [Causal; 2],
    shortcut: Option<Conv>,
}

/// What a block looks back at.
pub(super) type Histories = [History; 2];

impl Resnet {
    /// The block `name`; with a shortcut where it changes the width.
    pub(super) fn new(source: &Source<'_>, name: &str, [input, output]: [usize; 2]) -> Result<Self> {
        let norm = |i: usize| Norm::new(source, &format!("{name}.norm{i}"), Activation::Silu);
        let conv = |i: usize| Causal::new(source, &format!("{name}.conv{i}"));
        let shortcut = (input != output).then(|| Conv::new(source, &format!("{name}.conv_shortcut")));
        Ok(Resnet { norms: [norm(1)?, norm(2)?], convs: [conv(1)?, conv(2)?], shortcut: shortcut.transpose()? })
    }

    /// Of the next frame. Where `x` is nobody else's, its memory becomes the result's.
    pub(super) fn next(&self, [first, second]: &mut Histories, x: Tensor) -> Result<Tensor> {
        let h = self.norms[0].run(&x)?;
        let mut y = match &self.shortcut {
            Some(shortcut) => shortcut.frame(&x)?,
            None => x.clone(),
        };
        drop(x);
        let h = self.convs[0].next(first, h)?;
        let normed = self.norms[1].run(&h)?;
        drop(h);
        self.convs[1].next_add_to(second, normed, &mut y)?;
        Ok(y)
    }
}

/// Two residual blocks with attention over the pixels of a frame between them.
#[derive(Clone, Debug)]
pub(super) struct Middle {
    resnets: [Resnet; 2],
    norm: Norm,
    qkv: [Conv; 3],
    out: Conv,
}

impl Middle {
    pub(super) fn new(source: &Source<'_>, name: &str, width: usize) -> Result<Self> {
        let resnet = |i: usize| Resnet::new(source, &format!("{name}.resnets.{i}"), [width, width]);
        let attention = format!("{name}.attentions.0");
        Ok(Middle {
            resnets: [resnet(0)?, resnet(1)?],
            norm: Norm::new(source, &format!("{attention}.norm"), Activation::None)?,
            qkv: Conv::split(source, &format!("{attention}.to_qkv"))?,
            out: Conv::new(source, &format!("{attention}.proj"))?,
        })
    }

    /// Of the next frame.
    pub(super) fn next(&self, [before, behind]: &mut [Histories; 2], x: Tensor) -> Result<Tensor> {
        let mut x = self.resnets[0].next(before, x)?;
        let attended = self.attend(&x)?;
        self.out.add_to(&[Some(&attended)], &mut x)?;
        drop(attended);
        self.resnets[1].next(behind, x)
    }

    /// One head as wide as the frame has channels.
    fn attend(&self, x: &Tensor) -> Result<Tensor> {
        let n = self.norm.run(x)?;
        let [q, k, v] = [0, 1, 2].map(|i| self.qkv[i].frame(&n));
        let (q, k, v) = (q?, k?, v?);
        drop(n);
        let [height, width, channels] = x.shape().expect_rank("attention")?;
        let tokens = height * width;
        let mut out = Tensor::empty(x.device(), x.shape(), DType::F32)?;
        let mut lse = Tensor::empty(x.device(), [tokens], DType::F32)?;
        let args = attention::Forward {
            q: q.input()?,
            k: k.input()?,
            v: v.input()?,
            key_mask: None,
            out: out.output()?,
            lse: lse.output()?,
            dims: attention::Dims { batch: 1, heads: 1, queries: tokens, keys: tokens, width: channels },
            scale: (channels as f32).sqrt().recip(),
        };
        attention::forward(x.device().runtime(), args).map_err(flg_engine::Error::from)?;
        Ok(out)
    }
}
