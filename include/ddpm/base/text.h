#pragma once

#include <cstdint>
#include <exception>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ddpm {

/// A size in the unit that keeps it below 1000: "512 B", "46.1 kB", "1.18 MB", "4.25 GB". Three
/// digits; powers of 1000, as disks are sold.
std::string format_bytes(uint64_t bytes);

/// "850 ms", "12.3 s", "4 min 05 s", "3 h 12 min", "2 d 04 h"; "?" if negative or not finite.
std::string format_duration(double seconds);

/// "12,345,678".
std::string with_commas(int64_t n);

/// Three significant digits, and from 1,000 on all digits before the point: "0.256", "24.5", "3,840".
std::string three_digits(double value);

/// "1 image", "25,600 images".
std::string counted(int64_t n, const std::string& noun);

/// A line of a table with two columns: "images         10,000\n".
std::string table_row(const std::string& key, const std::string& value);

/// Without the spaces, tabs and carriage returns around it.
std::string_view trimmed(std::string_view text);

/// The number that the whole text is, as 3, -1.5, +2 or 1e-4, or infinite or NaN; none if it is not
/// one.
std::optional<double> parsed_number(std::string_view text);

/// The text in single quotes, as all shells but fish read it.
std::string single_quoted(std::string_view text);

/// Whether the text is one or more of the digits 0 to 9, and nothing else.
bool is_digits(std::string_view text);

/// ASCII letters in lower case; other bytes unchanged.
std::string lowercase(std::string_view text);

/// The first line of an error's message, without LibTorch's stack trace or gloo's "[FILE:LINE]".
std::string first_line(const std::exception& error);

/// The known name that a misspelt one most likely means; "" if none is close enough.
std::string nearest(std::string_view wrong, const std::vector<std::string>& known);

/// "" if `word` is one of these; else "is X; must be one of A, B; did you mean B?".
std::string problem_of_choice(const std::string& word, const std::vector<std::string>& words);

/// Columns of a UTF-8 text on a terminal, one per character.
int columns(std::string_view text);

/// `text` in lines of at most `width` columns, broken between words. A longer word gets its own
/// line; existing line breaks are kept.
std::vector<std::string> wrapped(std::string_view text, int width);

/// "cat, dog, bird": at most twelve names for a message; "..." stands for the others.
std::string name_list(const std::vector<std::string>& names);

// File names are bytes; JSON, TOML and terminals need UTF-8.

/// Whether `text` is well-formed UTF-8 (Unicode 15, Table 3-7): no overlong forms, no surrogates,
/// at most U+10FFFF.
bool is_utf8(std::string_view text);

/// The text with each byte that is not part of valid UTF-8 written as \xE9. Valid UTF-8 is
/// unchanged.
std::string as_utf8(std::string_view text);

}  // namespace ddpm
