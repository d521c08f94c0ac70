// hls::stream for C-simulation with a plain C++ compiler; the vendor's own header is used in HLS.
//
// A stream grows as needed, and frees what it grew to when its last element is read. A read from an empty stream and elements left at the end are collected
// as faults instead of passing unnoticed. Elements are copied byte by byte, so they must be plain
// data (integers of ap_int.h and arrays and structs of them).
#ifndef HWFLOW_SIMULATION_HLS_STREAM_H_
#define HWFLOW_SIMULATION_HLS_STREAM_H_

#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <vector>

namespace hls {
namespace simulation {

// What is kept of all streams of one name.
//
// Layers read and write streams that others declare. What takes strings and maps is called through
// pointers that are set where a stream is declared, and all functions are templates: so a layer's
// unit compiles none of it.
template <typename UNUSED>
struct basic_channel {
    std::string name;
    bool armed;
    std::vector<unsigned char> bytes;  // of the elements written while armed
    std::string path;                  // of a file that takes them when there are many, or nothing
    std::size_t greatest_fill;         // in elements
    void (*keep)(basic_channel& channel, const void* element, std::size_t size);
    void (*read_while_empty)(const basic_channel& channel);
};
typedef basic_channel<void> channel;

// The faults so far, each a sentence; the caller may clear it.
template <typename UNUSED = void>
std::vector<std::string>& faults() {
    static std::vector<std::string> all;
    return all;
}

template <typename UNUSED = void>
void report(const std::string& fault) {
    static const std::size_t ENOUGH = 1000;
    if (faults().size() < ENOUGH) {
        faults().push_back(fault);
    }
}

// Appends what is kept in memory to the channel's file; false if that cannot be written.
template <typename CHANNEL>
bool spill(CHANNEL& channel) {
    std::FILE* file = std::fopen(channel.path.c_str(), "ab");
    if (file == NULL) {
        return false;
    }
    const std::size_t size = channel.bytes.size();
    const bool whole = std::fwrite(channel.bytes.data(), 1, size, file) == size;
    channel.bytes.clear();
    return std::fclose(file) == 0 && whole;
}

template <typename CHANNEL>
void keep_element(CHANNEL& channel, const void* element, std::size_t size) {
    static const std::size_t MANY_BYTES = 1 << 20;
    const unsigned char* bytes = static_cast<const unsigned char*>(element);
    channel.bytes.insert(channel.bytes.end(), bytes, bytes + size);
    if (channel.bytes.size() >= MANY_BYTES && !channel.path.empty() && !spill(channel)) {
        report(channel.path + " cannot be written");
    }
}

template <typename CHANNEL>
void report_read_while_empty(const CHANNEL& channel) {
    report("stream '" + channel.name + "': read while empty");
}

template <typename CHANNEL>
void open_channel(CHANNEL& channel, const std::string& name) {
    channel.name = name;
    channel.keep = keep_element<CHANNEL>;
    channel.read_while_empty = report_read_while_empty<CHANNEL>;
}

template <typename UNUSED = void>
std::map<std::string, channel>& channels() {
    static std::map<std::string, channel> all;
    return all;
}

template <typename UNUSED = void>
channel& channel_of(const std::string& name) {
    channel& found = channels()[name];  // a new one is all zeros
    open_channel(found, name);
    return found;
}

// What streams without a name share.
template <typename UNUSED = void>
channel& nameless() {
    static channel none = channel();
    open_channel(none, "unnamed");
    return none;
}

// From now on keeps every element that is written to the streams of this name.
template <typename UNUSED = void>
void record(const std::string& name, const std::string& path = std::string()) {
    channel& found = channel_of(name);
    found.armed = true;
    found.path = path;
}

// Ends the recording and frees what was kept.
template <typename UNUSED = void>
void forget(const std::string& name) {
    channel& found = channel_of(name);
    found.armed = false;
    std::vector<unsigned char>().swap(found.bytes);
}

// The elements kept, byte by byte in the order of writing; the caller may clear it.
template <typename UNUSED = void>
std::vector<unsigned char>& recorded(const std::string& name) {
    return channel_of(name).bytes;
}

// The greatest number of elements that a stream of this name held, seen when it was read.
template <typename UNUSED = void>
std::size_t greatest_fill(const std::string& name) {
    return channel_of(name).greatest_fill;
}

}  // namespace simulation

template <typename T, int DEPTH = 0>
class stream {
public:
    typedef T value_type;

    stream() : channel_(&simulation::nameless()) { start(); }
    explicit stream(const char* name) : channel_(&simulation::channel_of(name)) { start(); }
    explicit stream(const std::string& name) : channel_(&simulation::channel_of(name)) { start(); }

    ~stream() {
        note(size());
        if (first_ != last_) {
            simulation::report("stream '" + name() + "': " + std::to_string(size()) +
                               " elements were never read");
        }
        std::free(base_);
    }

    void write(const T& value) {
        if (last_ == limit_) {
            make_room();
        }
        std::memcpy(static_cast<void*>(last_), static_cast<const void*>(&value), sizeof(T));
        ++last_;
        if (channel_->armed) {
            channel_->keep(*channel_, &value, sizeof(T));
        }
    }

    // The next element, valid until the next write to this stream.
    const T& read() {
        const std::size_t fill = size();
        if (fill == 0) {
            channel_->read_while_empty(*channel_);
            static const T none = T();
            return none;
        }
        note(fill);  // a fill is greatest just before a read
        if (fill == 1 && limit_ - base_ > LARGE) {
            release();
        }
        return *first_++;
    }

    void read(T& value) { value = read(); }

    bool read_nb(T& value) {
        if (empty()) {
            return false;
        }
        read(value);
        return true;
    }

    bool write_nb(const T& value) {
        write(value);
        return true;
    }

    void operator>>(T& value) { read(value); }
    void operator<<(const T& value) { write(value); }

    bool empty() const { return first_ == last_; }
    bool full() const { return false; }
    std::size_t size() const { return static_cast<std::size_t>(last_ - first_); }
    std::string name() const { return channel_->name; }

private:
    static const std::ptrdiff_t LARGE = 1 + (1 << 16) / sizeof(T);  // elements

    stream(const stream&);
    stream& operator=(const stream&);

    void start() { base_ = first_ = last_ = limit_ = NULL; }

    void note(std::size_t fill) {
        if (fill > channel_->greatest_fill) {
            channel_->greatest_fill = fill;
        }
    }

    // Moves the elements to the front, into twice the memory unless half of it is free.
    void make_room() {
        const std::size_t fill = size();
        const std::size_t capacity = static_cast<std::size_t>(limit_ - base_);
        if (2 * fill <= capacity && capacity > 0) {
            std::memmove(static_cast<void*>(base_), static_cast<const void*>(first_),
                         fill * sizeof(T));
        } else {
            const std::size_t wanted = capacity ? 2 * capacity : 64;
            T* larger = static_cast<T*>(std::malloc(wanted * sizeof(T)));
            if (larger == NULL) {
                std::abort();
            }
            if (fill) {
                std::memcpy(static_cast<void*>(larger), static_cast<const void*>(first_),
                            fill * sizeof(T));
            }
            std::free(base_);
            base_ = larger;
            limit_ = base_ + wanted;
        }
        first_ = base_;
        last_ = base_ + fill;
    }

    // Moves the only element into memory of its own and frees the rest.
    void release() {
        T* small = static_cast<T*>(std::malloc(sizeof(T)));
        if (small == NULL) {
            std::abort();
        }
        std::memcpy(static_cast<void*>(small), static_cast<const void*>(first_), sizeof(T));
        std::free(base_);
        base_ = first_ = small;
        last_ = limit_ = small + 1;
    }

    simulation::channel* channel_;
    T* base_;
    T* first_;
    T* last_;
    T* limit_;
};

}  // namespace hls

#endif  // HWFLOW_SIMULATION_HLS_STREAM_H_
