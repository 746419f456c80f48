//! Weights: a table of named tensors. Modules hold ids only, so one architecture serves any number of stores.

use std::collections::BTreeMap;

use flg_kernels::gemm;

use crate::{DType, Device, Error, Result, Tensor};

/// A parameter's row in its [`ParamStore`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ParamId(u32);

impl ParamId {
    /// The row.
    pub fn index(self) -> usize {
        self.0 as usize
    }

    /// The parameter in row `index`.
    pub fn from_index(index: usize) -> Self {
        ParamId(index as u32)
    }
}

/// Named weights in a fixed order. Names are the tensor names of the checkpoint.
#[derive(Clone, Debug)]
pub struct ParamStore {
    device: Device,
    names: Vec<String>,
    values: Vec<Tensor>,
    /// bf16 copies that mixed-precision contexts read; empty, or one (or none) a parameter.
    shadows: Vec<Option<Tensor>>,
    /// Matrices in the order in which products read them, for passes that nothing is recorded of.
    panels: Vec<Option<Tensor>>,
    by_name: BTreeMap<String, ParamId>,
}

impl ParamStore {
    /// No parameters yet.
    pub fn new(device: &Device) -> Self {
        ParamStore {
            device: device.clone(),
            names: Vec::new(),
            values: Vec::new(),
            shadows: Vec::new(),
            panels: Vec::new(),
            by_name: BTreeMap::new(),
        }
    }

    /// Adds a parameter.
    ///
    /// # Errors
    /// [`Error::DuplicateParam`].
    pub fn insert(&mut self, name: impl Into<String>, value: Tensor) -> Result<ParamId> {
        let name = name.into();
        if self.by_name.contains_key(&name) {
            return Err(Error::DuplicateParam { name });
        }
        let id = ParamId::from_index(self.values.len());
        self.by_name.insert(name.clone(), id);
        self.names.push(name);
        self.values.push(value);
        self.shadows.push(None);
        self.panels.push(None);
        Ok(id)
    }

    /// Where the weights live.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Number of parameters (tensors).
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Number of scalars in all parameters.
    pub fn elements(&self) -> usize {
        self.values.iter().map(Tensor::elements).sum()
    }

    /// Bytes of all parameters, without mixed-precision copies.
    pub fn bytes(&self) -> usize {
        self.values.iter().map(Tensor::bytes).sum()
    }

    /// The parameter of this name.
    ///
    /// # Errors
    /// [`Error::UnknownParam`].
    pub fn id(&self, name: &str) -> Result<ParamId> {
        self.by_name.get(name).copied().ok_or_else(|| Error::UnknownParam { name: name.to_owned() })
    }

    /// The name of a parameter.
    pub fn name(&self, id: ParamId) -> &str {
        &self.names[id.index()]
    }

    /// The value of a parameter.
    pub fn get(&self, id: ParamId) -> &Tensor {
        &self.values[id.index()]
    }

    /// The value of a parameter, to change. Mixed-precision contexts go on reading the old one until
    /// [`ParamStore::refresh_shadows`]; panels are dropped.
    pub fn get_mut(&mut self, id: ParamId) -> &mut Tensor {
        self.panels[id.index()] = None;
        &mut self.values[id.index()]
    }

    /// Ids, names and values in order of insertion.
    pub fn iter(&self) -> impl Iterator<Item = (ParamId, &str, &Tensor)> {
        let ids = (0..self.values.len()).map(ParamId::from_index);
        ids.zip(&self.names).zip(&self.values).map(|((id, name), value)| (id, name.as_str(), value))
    }

    /// A copy that shares nothing and has the same ids, for a moving average or a second network of this architecture.
    ///
    /// # Errors
    /// None of the caller's making.
    pub fn deep_copy(&self) -> Result<Self> {
        let values = self.values.iter().map(Tensor::copy).collect::<Result<_>>()?;
        let none = vec![None; self.values.len()];
        Ok(ParamStore { values, shadows: none.clone(), panels: none, ..self.clone() })
    }

    /// What a mixed-precision context reads: the bf16 copy where there is one.
    pub(crate) fn low_precision(&self, id: ParamId) -> &Tensor {
        self.shadows[id.index()].as_ref().unwrap_or(self.get(id))
    }

    /// Lays every f32 matrix out once more in the order in which products read it, which they otherwise do every time:
    /// for a network that runs many times before it changes. Takes as much memory again as those matrices; changes no bit.
    ///
    /// # Errors
    /// None of the caller's making.
    pub fn prepack(&mut self) -> Result<()> {
        for (value, panels) in self.values.iter().zip(&mut self.panels) {
            let matrix = value.dtype() == DType::F32 && value.shape().rank() == 2;
            *panels = if matrix { Some(prepacked(value)?) } else { None };
        }
        Ok(())
    }

    /// What [`ParamStore::prepack`] made of a parameter, if it has not changed since.
    pub(crate) fn panels(&self, id: ParamId) -> Option<&Tensor> {
        self.panels[id.index()].as_ref()
    }

    /// Makes bf16 copies of the parameters that `wanted` names; mixed-precision contexts read those. Call it again after
    /// every change of the weights.
    ///
    /// # Errors
    /// None of the caller's making.
    pub fn refresh_shadows(&mut self, wanted: impl Fn(&str) -> bool) -> Result<()> {
        for ((name, value), shadow) in self.names.iter().zip(&self.values).zip(&mut self.shadows) {
            *shadow = if wanted(name) { Some(value.cast(DType::Bf16)?) } else { None };
        }
        Ok(())
    }
}

fn prepacked(weight: &Tensor) -> Result<Tensor> {
    let [n, k] = weight.shape().expect_rank("prepack")?;
    let rt = *weight.device().runtime();
    let mut panels = Tensor::empty(weight.device(), [gemm::panels_len(&rt, n, k)?], DType::F32)?;
    gemm::prepack(&rt, gemm::Prepack { b: weight.input()?, panels: panels.output()?, n, k })?;
    Ok(panels)
}
