//! Numbers as Python's `repr` writes them.

/// Appends a float as `json` does: Python's shortest repr, or `NaN` and `Infinity`.
pub fn float(out: &mut Vec<u8>, value: f64) {
    if value.is_finite() {
        finite(out, ryu::Buffer::new().format_finite(value));
    } else if value.is_nan() {
        out.extend_from_slice(b"NaN");
    } else {
        out.extend_from_slice(if value > 0.0 { b"Infinity" } else { b"-Infinity" });
    }
}

pub fn int(out: &mut Vec<u8>, value: i64) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// `shortest` holds the digits Python would choose, laid out by other rules: Python has a sign and at least two digits
/// in every exponent, and uses one below 1e-4, where this text still may begin `0.0000`.
fn finite(out: &mut Vec<u8>, shortest: &str) {
    if let Some((mantissa, exponent)) = shortest.split_once('e') {
        let (sign, digits) = exponent.strip_prefix('-').map_or((b'+', exponent), |digits| (b'-', digits));
        with_exponent(out, mantissa, sign, digits);
        return;
    }
    let (minus, magnitude) = shortest.strip_prefix('-').map_or(("", shortest), |magnitude| ("-", magnitude));
    match magnitude.strip_prefix("0.0000") {
        Some(digits) => {
            out.extend_from_slice(minus.as_bytes());
            let (first, rest) = digits.split_at(1);
            out.extend_from_slice(first.as_bytes());
            if !rest.is_empty() {
                out.push(b'.');
                out.extend_from_slice(rest.as_bytes());
            }
            out.extend_from_slice(b"e-05");
        }
        None => out.extend_from_slice(shortest.as_bytes()),
    }
}

fn with_exponent(out: &mut Vec<u8>, mantissa: &str, sign: u8, digits: &str) {
    out.extend_from_slice(mantissa.as_bytes());
    out.extend_from_slice(&[b'e', sign]);
    if digits.len() < 2 {
        out.push(b'0');
    }
    out.extend_from_slice(digits.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(value: f64) -> String {
        let mut out = Vec::new();
        float(&mut out, value);
        String::from_utf8(out).expect("ASCII")
    }

    #[test]
    fn floats_read_as_python_shows_them() {
        let cases = [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.0, "1.0"),
            (0.1, "0.1"),
            (123_456.789, "123456.789"),
            (0.0001, "0.0001"),
            (0.000_123, "0.000123"),
            (0.00001, "1e-05"),
            (-0.000_012_5, "-1.25e-05"),
            (9.999e-5, "9.999e-05"),
            (1e-6, "1e-06"),
            (1e-10, "1e-10"),
            (5e-324, "5e-324"),
            (1e15, "1000000000000000.0"),
            (9_007_199_254_740_993.0, "9007199254740992.0"),
            (1e16, "1e+16"),
            (-1.5e16, "-1.5e+16"),
            (1.234e22, "1.234e+22"),
            (f64::MAX, "1.7976931348623157e+308"),
            (f64::MIN_POSITIVE, "2.2250738585072014e-308"),
            (f64::INFINITY, "Infinity"),
            (f64::NEG_INFINITY, "-Infinity"),
            (f64::NAN, "NaN"),
        ];
        for (value, expected) in cases {
            assert_eq!(written(value), expected);
        }
    }

    proptest! {
        #[test]
        fn finite_floats_read_back_as_they_were(bits: u64) {
            let value = f64::from_bits(bits);
            prop_assume!(value.is_finite());
            prop_assert_eq!(written(value).parse::<f64>().map(f64::to_bits), Ok(bits));
        }
    }
}
