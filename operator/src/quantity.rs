//! Quantities as Kubernetes writes them: `500m`, `2`, `1e3`, `512Mi`.

/// The number that a text stands for; `None` if it is no quantity.
///
/// The grammar of `k8s.io/apimachinery/pkg/api/resource`: a decimal number and a suffix, binary (`Ki` to `Ei`), decimal (`n` to `E`) or an exponent.
pub fn parse(text: &str) -> Option<f64> {
    let end =
        text.find(|letter: char| !letter.is_ascii_digit() && !"+-.".contains(letter)).unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let number: f64 = number.parse().ok()?;
    let factor = match suffix {
        "" => 1.0,
        "n" => 1e-9,
        "u" => 1e-6,
        "m" => 1e-3,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "P" => 1e15,
        "E" => 1e18,
        "Ki" => 1024.0,
        "Mi" => 1024.0_f64.powi(2),
        "Gi" => 1024.0_f64.powi(3),
        "Ti" => 1024.0_f64.powi(4),
        "Pi" => 1024.0_f64.powi(5),
        "Ei" => 1024.0_f64.powi(6),
        exponent => 10.0_f64.powi(exponent.strip_prefix(['e', 'E'])?.parse().ok()?),
    };
    Some(number * factor)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn the_same_amount_written_differently_is_equal() {
        for (left, right) in
            [("1000m", "1"), ("1024Mi", "1Gi"), ("1e3", "1k"), ("0.5", "500m"), ("2E2", "200")]
        {
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
