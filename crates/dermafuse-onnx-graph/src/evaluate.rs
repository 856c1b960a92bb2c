//! What nodes of constants give, computed while a graph is built: weights of normalizations become those of convolutions this way.

use std::ops::{Add, Div, Mul, Neg, Sub};
use std::sync::Arc;

use crate::constant::{Constant, Values};
use crate::element::{Dim, Element};
use crate::graph::Attribute;

/// The constant that a node gives; `None` for operators that are left to whoever runs the file, and for results larger than all inputs.
pub(crate) fn evaluate(
    operator: &str,
    inputs: &[Arc<Constant>],
    attributes: &[(&'static str, Attribute)],
    element: Element,
    shape: &[Dim],
) -> Option<Constant> {
    let shape: Vec<usize> = shape.iter().map(|dim| dim.fixed()).collect::<Option<_>>()?;
    let count: usize = shape.iter().product();
    let values = match (operator, inputs) {
        ("Reshape", [x, _]) => x.values.clone(),
        ("Transpose", [x]) => {
            let [(_, Attribute::Ints(order))] = attributes else { return None };
            let order: Vec<usize> = order.iter().map(|&axis| axis as usize).collect();
            transposed(x, &order)?
        }
        ("Cast", [x]) => cast(&x.values, element)?,
        ("Concat", parts) if parts.iter().all(|part| part.shape.len() == 1) => {
            let mut all = Vec::new();
            for part in parts {
                let Values::I64(values) = &part.values else { return None };
                all.extend(values);
            }
            Values::I64(all)
        }
        (_, [x]) => of_each(operator, &x.values)?,
        ("Add" | "Sub" | "Mul" | "Div", [left, right]) if count <= left.values.len().max(right.values.len()) => {
            of_pairs(operator, left, right, &shape)?
        }
        _ => return None,
    };
    Some(Constant { shape, values })
}

/// What both kinds of floats can do, in the arithmetic of the numbers themselves, as backends have it.
trait Number:
    Copy + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> + Div<Output = Self> + Neg<Output = Self>
{
    const ONE: Self;

    fn sqrt(self) -> Self;
}

impl Number for f32 {
    const ONE: Self = 1.0;

    fn sqrt(self) -> Self {
        self.sqrt()
    }
}

impl Number for f64 {
    const ONE: Self = 1.0;

    fn sqrt(self) -> Self {
        self.sqrt()
    }
}

fn of_each(operator: &str, values: &Values) -> Option<Values> {
    fn each<T: Number>(operator: &str, values: &[T]) -> Option<Vec<T>> {
        let function: fn(T) -> T = match operator {
            "Sqrt" => T::sqrt,
            "Reciprocal" => |x| T::ONE / x,
            "Neg" => |x| -x,
            _ => return None,
        };
        Some(values.iter().map(|&x| function(x)).collect())
    }
    match values {
        Values::F32(values) => each(operator, values).map(Values::F32),
        Values::F64(values) => each(operator, values).map(Values::F64),
        _ => None,
    }
}

fn of_pairs(operator: &str, left: &Constant, right: &Constant, shape: &[usize]) -> Option<Values> {
    fn pairs<T: Number>(operator: &str, left: &[T], right: &[T], places: [Vec<usize>; 2]) -> Option<Vec<T>> {
        let function: fn(T, T) -> T = match operator {
            "Add" => T::add,
            "Sub" => T::sub,
            "Mul" => T::mul,
            "Div" => T::div,
            _ => return None,
        };
        let [of_left, of_right] = places;
        Some(of_left.iter().zip(&of_right).map(|(&a, &b)| function(left[a], right[b])).collect())
    }
    let places = || [left, right].map(|of| broadcast_places(&of.shape, shape));
    match (&left.values, &right.values) {
        (Values::F32(left), Values::F32(right)) => pairs(operator, left, right, places()).map(Values::F32),
        (Values::F64(left), Values::F64(right)) => pairs(operator, left, right, places()).map(Values::F64),
        _ => None,
    }
}

/// Where each number of a shape is in a smaller one that is broadcast to it.
fn broadcast_places(from: &[usize], to: &[usize]) -> Vec<usize> {
    let offset = to.len() - from.len();
    let mut strides = vec![0; to.len()];
    let mut stride = 1;
    for (at, &size) in from.iter().enumerate().rev() {
        strides[offset + at] = if size == 1 { 0 } else { stride };
        stride *= size;
    }
    places(to, &strides)
}

/// The places that strides give to the numbers of a shape, row-major.
fn places(shape: &[usize], strides: &[usize]) -> Vec<usize> {
    let mut places = vec![0];
    for (&size, &stride) in shape.iter().zip(strides) {
        places = places.iter().flat_map(|&place| (0..size).map(move |index| place + index * stride)).collect();
    }
    places
}

fn transposed(x: &Constant, order: &[usize]) -> Option<Values> {
    let mut strides = vec![1; x.shape.len()];
    for at in (1..x.shape.len()).rev() {
        strides[at - 1] = strides[at] * x.shape[at];
    }
    let shape: Vec<usize> = order.iter().map(|&axis| x.shape[axis]).collect();
    let strides: Vec<usize> = order.iter().map(|&axis| strides[axis]).collect();
    let places = places(&shape, &strides);
    match &x.values {
        Values::F32(values) => Some(Values::F32(places.into_iter().map(|place| values[place]).collect())),
        Values::F64(values) => Some(Values::F64(places.into_iter().map(|place| values[place]).collect())),
        _ => None,
    }
}

fn cast(values: &Values, element: Element) -> Option<Values> {
    match (values, element) {
        (Values::F32(values), Element::F64) => {
            Some(Values::F64(values.iter().map(|&value| f64::from(value)).collect()))
        }
        (Values::F64(values), Element::F32) => Some(Values::F32(values.iter().map(|&value| value as f32).collect())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn constant(values: &[f32], shape: &[usize]) -> Arc<Constant> {
        Arc::new(Constant { shape: shape.to_vec(), values: Values::F32(values.to_vec()) })
    }

    #[test]
    fn constants_are_computed_as_by_hand() {
        let dims = |sizes: &[usize]| Dim::all_fixed(sizes);
        let (matrix, row) = (constant(&[1., 2., 3., 4., 5., 6.], &[2, 3]), constant(&[10., 20., 30.], &[3]));
        let of = |operator, inputs: &[Arc<Constant>], shape: &[usize]| {
            evaluate(operator, inputs, &[], Element::F32, &dims(shape)).map(|constant| constant.values)
        };
        let sum = of("Add", &[matrix.clone(), row.clone()], &[2, 3]);
        assert_eq!(sum, Some(Values::F32(vec![11., 22., 33., 14., 25., 36.])));
        let column = constant(&[1., 2.], &[2, 1]);
        assert_eq!(
            of("Div", &[matrix.clone(), column.clone()], &[2, 3]),
            Some(Values::F32(vec![1., 2., 3., 2., 2.5, 3.]))
        );
        // What is larger than all that it is made of stays a node.
        assert_eq!(of("Add", &[column, row], &[2, 3]), None);
        assert_eq!(of("Sqrt", &[constant(&[4., 9.], &[2])], &[2]), Some(Values::F32(vec![2., 3.])));
        assert_eq!(of("Erf", std::slice::from_ref(&matrix), &[2, 3]), None);
        let order = [("perm", Attribute::Ints(vec![1, 0]))];
        let turned = evaluate("Transpose", &[matrix], &order, Element::F32, &dims(&[3, 2])).unwrap();
        assert_eq!(turned.values, Values::F32(vec![1., 4., 2., 5., 3., 6.]));
    }
}
