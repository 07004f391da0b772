#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

struct MDB_env;
struct MDB_txn;

namespace ddpm::io {

/// Reads the values of an LMDB database, such as those of LSUN: a folder with data.mdb. It is opened
/// without its lock file, read-only: no other process may write to it meanwhile. LMDB trusts its
/// files, so only the size of data.mdb is checked, not its contents.
class LmdbReader {
 public:
  /// Throws IoError if the folder has no database, or a part of one.
  explicit LmdbReader(const std::filesystem::path& folder);
  ~LmdbReader();
  LmdbReader(LmdbReader&&) noexcept;
  LmdbReader(const LmdbReader&) = delete;
  LmdbReader& operator=(const LmdbReader&) = delete;

  /// Whether the folder holds data.mdb.
  static bool is_database(const std::filesystem::path& folder);

  /// Its data.mdb.
  std::filesystem::path file() const;
  /// The keys in the database's order. Bytes that are no letter, digit, '-' or '_' are %XX; images have
  /// the ending of their format: "0a1b.webp".
  const std::vector<std::string>& names() const { return names_; }
  bool contains(const std::string& name) const { return keys_.contains(name); }
  /// Bytes of a value. Throws IoError if it is not in the database.
  uint64_t size_of(const std::string& name) const;
  /// The first `count` bytes of a value, or all of a shorter one. Thread-safe. Throws IoError.
  std::vector<uint8_t> read_beginning(const std::string& name, uint64_t count) const;

 private:
  struct Value {
    const uint8_t* data;
    uint64_t size;
  };
  void list();
  Value value_of(const std::string& name) const;

  std::filesystem::path path_;
  MDB_env* env_ = nullptr;
  MDB_txn* transaction_ = nullptr;  // of the state when it was opened
  unsigned int database_ = 0;
  std::unique_ptr<std::mutex> mutex_ =
      std::make_unique<std::mutex>();  // one thread per transaction
  std::vector<std::string> names_;
  std::unordered_map<std::string, std::string> keys_;  // by name
};

}  // namespace ddpm::io
