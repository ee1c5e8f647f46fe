//! Quantities as Kubernetes writes them: `500m`, `2`, `1e3`, `512Mi`.

/// The number that a text stands for; `None` if it is no quantity. The same amount is the same number however it is written: each is the one next to it.
///
/// The grammar of `k8s.io/apimachinery/pkg/api/resource`: a decimal number and a suffix, binary (`Ki` to `Ei`), decimal (`n` to `E`) or an exponent.
pub fn parse(text: &str) -> Option<f64> {
    let end =
        text.find(|letter: char| !letter.is_ascii_digit() && !"+-.".contains(letter)).unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let exponent: i32 = match suffix {
        "" => 0,
        "n" => -9,
        "u" => -6,
        "m" => -3,
        "k" => 3,
        "M" => 6,
        "G" => 9,
        "T" => 12,
        "P" => 15,
        "E" => 18,
        "Ki" => return binary(number, 1),
        "Mi" => return binary(number, 2),
        "Gi" => return binary(number, 3),
        "Ti" => return binary(number, 4),
        "Pi" => return binary(number, 5),
        "Ei" => return binary(number, 6),
        exponent => exponent.strip_prefix(['e', 'E'])?.parse().ok()?,
    };
    // Multiplied by a power of ten it would be rounded twice.
    format!("{number}e{exponent}").parse().ok()
}

fn binary(number: &str, power: i32) -> Option<f64> {
    number.parse::<f64>().ok().map(|number| number * 1024.0_f64.powi(power))
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn the_same_amount_written_differently_is_equal() {
        for (left, right) in [
            ("1000m", "1"),
            ("1024Mi", "1Gi"),
            ("1e3", "1k"),
            ("0.5", "500m"),
            ("2E2", "200"),
            ("8.3G", "8300M"),
            ("1.07G", "1070M"),
            ("0.1Gi", "107374182400m"),
        ] {
            assert_eq!(parse(left), parse(right), "{left} and {right}");
        }
    }

    #[test]
    fn what_is_no_quantity_is_none() {
        for text in ["", "Gi", "1Gib", "one", "1 Gi", "--1", "1e", "1ex"] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }
}
