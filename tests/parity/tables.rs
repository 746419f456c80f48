//! Tables of the rotary embedding and of the time embedding.

use std::path::Path;

use flg_engine::{Cx, Device, ParamStore};
use flg_model::Time;
use flg_model::wan::RopeTable;

use super::report::{Report, skip};
use super::tensors::Tensors;

pub fn check(folder: &Path, report: &mut Report) {
    let outputs = Tensors::read(&folder.join("outputs.safetensors"));
    for name in outputs.names() {
        if let Some(width) = name.strip_prefix("wan").and_then(|rest| rest.strip_suffix(".rows")) {
            rope_rows(&outputs, width.parse().unwrap(), report);
        } else if let Some(width) = name.strip_prefix("wan").and_then(|rest| rest.strip_suffix(".q")) {
            rotated(&outputs, width.parse().unwrap(), report);
        } else if let Some(width) = name.strip_prefix("time").and_then(|rest| rest.strip_suffix(".t")) {
            sinusoid(&outputs, width.parse().unwrap(), report);
        } else if name.starts_with("hunyuan") {
            skip(&format!("{name} is not supported yet"));
        }
    }
}

/// Rows of the table hold the angles of one position along time, rows and columns side by side, each twice.
fn rope_rows(outputs: &Tensors, width: usize, report: &mut Report) {
    let device = Device::cpu();
    let rows: Vec<usize> = outputs[&format!("wan{width}.rows")].values.iter().map(|&row| row as usize).collect();
    let longest = rows.iter().max().map_or(0, |row| row + 1);
    let spatial = 2 * (width / 6);
    let ends = [width - 2 * spatial, width - spatial, width];
    let axes: [RopeTable; 3] = std::array::from_fn(|axis| {
        let mut grid = [1; 3];
        grid[axis] = longest;
        RopeTable::new(&device, grid, width).unwrap()
    });
    let [cos, sin] = [axes.each_ref().map(|t| t.cos.to_vec()), axes.each_ref().map(|t| t.sin.to_vec())];
    for (part, tables) in [("cos", cos), ("sin", sin)] {
        let at = |row: usize, channel: usize| {
            let axis = ends.iter().position(|&end| channel < end).unwrap();
            tables[axis][row * (width / 2) + channel / 2]
        };
        let got: Vec<f32> =
            rows.iter().flat_map(|&row| (0..width).map(move |c| (row, c))).map(|(r, c)| at(r, c)).collect();
        let name = format!("wan{width}.table_{part}");
        report.close(&name, &got, &outputs[&name].values, 2e-6);
    }
}

/// Queries `[1, tokens, heads, width]`, turned on the grid of a latent with patches (1, 2, 2).
fn rotated(outputs: &Tensors, width: usize, report: &mut Report) {
    let device = Device::cpu();
    let q = &outputs[&format!("wan{width}.q")];
    let &[batch, tokens, heads, _] = &q.shape[..] else { panic!("q has shape {:?}", q.shape) };
    let latents: Vec<usize> = outputs[&format!("wan{width}.latent_shape")].values.iter().map(|&n| n as usize).collect();
    let table = RopeTable::new(&device, [latents[0], latents[1] / 2, latents[2] / 2], width).unwrap();
    let store = ParamStore::new(&device);
    let cx = Cx::inference(&store);
    let x = cx.input(q.tensor(&device).reshape([batch, tokens, heads * width]).unwrap());
    let name = format!("wan{width}.q_rot");
    let turned = table.turn(&cx, heads, &x).unwrap();
    report.close(&name, &turned.value().to_vec(), &outputs[&name].values, 2e-6);
}

fn sinusoid(outputs: &Tensors, width: usize, report: &mut Report) {
    let times = &outputs[&format!("time{width}.t")].values;
    let want = &outputs[&format!("time{width}.emb")].values;
    let got = Time::per_sample(times).sinusoid(&Device::cpu(), width).unwrap().to_vec();
    for ((t, got), want) in times.iter().zip(got.chunks(width)).zip(want.chunks(width)) {
        // Above 1000 lie Hunyuan's guidance values, where an argument's last place is six times as large.
        report.close(&format!("time{width} of {t}"), got, want, if *t <= 1000.0 { 5e-5 } else { 5e-4 });
    }
}
