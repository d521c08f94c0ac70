// How far apart the taps of a window lie.
#ifndef HWFLOW_DILATION_H_
#define HWFLOW_DILATION_H_

namespace hwflow {

// void, for a class that has a member; no type for one that has not.
template <int MEMBER>
struct with_member {
    typedef void type;
};

// Rows and columns from one tap to the next: dilation_height and dilation_width of CONFIG, or 1
// where CONFIG has neither.
template <typename CONFIG, typename = void>
struct dilation {
    static const int height = 1;
    static const int width = 1;
};
template <typename CONFIG>
struct dilation<CONFIG, typename with_member<CONFIG::dilation_height>::type> {
    static const int height = CONFIG::dilation_height;
    static const int width = CONFIG::dilation_width;
};

}  // namespace hwflow

#endif  // HWFLOW_DILATION_H_
